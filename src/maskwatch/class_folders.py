"""Pictures sorted into class folders: what is in them, which are alike, and how they are split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.codec import read_picture
from maskwatch.errors import DatasetError, ImageError
from maskwatch.frames import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
NEAR_BITS = 30
"""Difference hashes of 256 bits closer than this are of the same picture, cropped or scaled."""
SMALL_PX = 32
_BLOCK = 2048


@dataclass(frozen=True)
class ClassPicture:
    """One picture: its file, and the index of its class."""

    path: Path
    class_index: int


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """A data set of one subfolder a class, looked through.

    Attributes:
        root: the folder.
        classes: names of the subfolders, sorted.
        pictures: those that can be read.
        groups: (n,) for each picture the number of its group: near-duplicates share one.
        sizes: (n, 2) widths and heights in px.
        digests: SHA-256 of each file.
        corrupt: files that look like pictures and are not, with the reason.
    """

    root: Path
    classes: tuple[str, ...]
    pictures: tuple[ClassPicture, ...]
    groups: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    digests: tuple[str, ...]
    corrupt: dict[str, str] = field(default_factory=dict)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """(n,) class index of each picture."""
        return np.array([picture.class_index for picture in self.pictures], dtype=np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Readable pictures by class."""
        counted = Counter(self.targets.tolist())
        return {name: counted.get(index, 0) for index, name in enumerate(self.classes)}

    @property
    def imbalance(self) -> float:
        """The largest class over the smallest."""
        return max(self.counts.values()) / max(1, min(self.counts.values()))

    @property
    def fingerprint(self) -> str:
        """A digest of all files and classes: the same pictures give the same one."""
        rows = sorted(zip(self.digests, self.targets.tolist(), strict=True))
        return hashlib.sha256(repr((self.classes, rows)).encode()).hexdigest()

    def alike(self) -> list[list[Path]]:
        """Groups of two or more near-duplicates."""
        members: dict[int, list[Path]] = {}
        for picture, group in zip(self.pictures, self.groups.tolist(), strict=True):
            members.setdefault(group, []).append(picture.path)
        return [paths for paths in members.values() if len(paths) > 1]

    def report(self) -> dict[str, Any]:
        """What one should know before training, as plain values."""
        targets = self.targets
        by_digest: dict[str, list[int]] = {}
        for row, digest in enumerate(self.digests):
            by_digest.setdefault(digest, []).append(row)
        equal = [rows for rows in by_digest.values() if len(rows) > 1]
        contradicting = [rows for rows in equal if len({int(targets[row]) for row in rows}) > 1]
        alike = self.alike()
        shorter = self.sizes.min(axis=1) if len(self.sizes) else np.zeros(1)
        return {
            "folder": str(self.root),
            "pictures": len(self.pictures),
            "classes": self.counts,
            "imbalance": round(self.imbalance, 2),
            "shorter_side_px": {
                "least": int(shorter.min()),
                "median": int(np.median(shorter)),
                "below_32": int((shorter < SMALL_PX).sum()),
            },
            "corrupt": self.corrupt,
            "exact_duplicates": sum(len(rows) - 1 for rows in equal),
            "near_duplicate_groups": len(alike),
            "near_duplicates": sum(len(paths) - 1 for paths in alike),
            "same_picture_in_two_classes": [
                [str(self.pictures[row].path) for row in rows] for rows in contradicting
            ],
        }


def report_words(report: dict[str, Any]) -> list[str]:
    """The report of `ClassFolders.report` as lines for people; troubles start with "!"."""
    counts = ", ".join(f"{name} {count}" for name, count in report["classes"].items())
    lines = [f"{report['pictures']} pictures: {counts}"]
    if report["imbalance"] > 1.5:
        lines.append(
            f"! the largest class has {report['imbalance']:g}× the pictures of the smallest; --balance"
        )
    if report["corrupt"]:
        names = ", ".join(list(report["corrupt"])[:3])
        lines.append(f"! {len(report['corrupt'])} unreadable, left out: {names}")
    if report["near_duplicates"]:
        lines.append(
            f"! {report['exact_duplicates']} exact and {report['near_duplicates']} near duplicates "
            f"in {report['near_duplicate_groups']} groups; each group stays on one side of the split"
        )
    if report["same_picture_in_two_classes"]:
        first = " = ".join(report["same_picture_in_two_classes"][0])
        lines.append(f"! {len(report['same_picture_in_two_classes'])} pictures lie in two classes: {first}")
    if report["shorter_side_px"]["below_32"]:
        lines.append(f"! {report['shorter_side_px']['below_32']} pictures are smaller than {SMALL_PX} px")
    return lines


def read_class_folders(
    root: Path, *, report: Callable[[int, int], None] = lambda done, total: None
) -> ClassFolders:
    """Look through `root`: one subfolder a class; pictures may lie deeper.

    Raises:
        DatasetError: there are no two classes with pictures.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; pass one with a subfolder for each class")
    files = {
        folder.name: sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }
    classes = tuple(name for name, paths in files.items() if paths)
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise DatasetError(
            f"{root}: classes with pictures: {found}; two subfolders are needed, such as with_mask and "
            "without_mask"
        )
    total, done = sum(map(len, files.values())), 0
    pictures, hashes, sizes, digests = [], [], [], []
    corrupt: dict[str, str] = {}
    for index, name in enumerate(classes):
        for path in files[name]:
            done += 1
            report(done, total)
            try:
                data = path.read_bytes()
                picture = read_picture(data, needed_side=64)
            except (ImageError, OSError) as error:
                corrupt[str(path.relative_to(root))] = str(error).removeprefix("bytes: ")
                continue
            pictures.append(ClassPicture(path, index))
            hashes.append(difference_hash(picture.image))
            sizes.append(picture.size_wh)
            digests.append(hashlib.sha256(data).hexdigest())
    if len({picture.class_index for picture in pictures}) < len(classes):
        raise DatasetError(f"{root}: a class has no readable picture; `maskwatch data check` names the files")
    groups = group_alike(np.array(hashes))
    return ClassFolders(
        root, classes, tuple(pictures), groups, np.array(sizes, dtype=np.int64), tuple(digests), corrupt
    )


def difference_hash(image: Image) -> npt.NDArray[np.bool_]:
    """256 bits that stay nearly the same when a picture is scaled or recompressed.

    Each bit says whether a cell of a 17×16 grid is brighter than its right neighbour (dHash, Krawetz).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.asarray(cells[:, 1:] > cells[:, :-1], dtype=np.bool_).reshape(-1)


def group_alike(hashes: npt.NDArray[np.bool_], *, near_bits: int = NEAR_BITS) -> npt.NDArray[np.int64]:
    """Group numbers (n,) of hashes (n, 256): what is near, also mirrored, comes into one group."""
    count = len(hashes)
    parent = np.arange(count)

    def root_of(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    signs = np.where(hashes, 1, -1).astype(np.float32)
    mirrored = -signs.reshape(count, 16, 16)[:, :, ::-1].reshape(count, 256)
    for start in range(0, count, _BLOCK):
        part = signs[start : start + _BLOCK]
        agreement = np.maximum(part @ signs.T, part @ mirrored.T)
        for row, other in np.argwhere((256 - agreement) / 2 <= near_bits):
            first, second = root_of(start + int(row)), root_of(int(other))
            parent[max(first, second)] = min(first, second)
    return np.array([root_of(row) for row in range(count)], dtype=np.int64)


def split(
    targets: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Which pictures (n,) are kept out: about `share` of each class, groups never divided.

    Raises:
        DatasetError: a class would be left without a picture on one side.
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    members = {int(group): np.flatnonzero(groups == group) for group in order}
    wanted = {int(one): share * float((targets == one).sum()) for one in np.unique(targets)}
    taken = dict.fromkeys(wanted, 0)
    out = np.zeros(len(targets), dtype=np.bool_)
    for group in sorted(map(int, order), key=lambda one: len(members[one]) > 1):  # single pictures first:
        rows = members[group]  # large groups are few and make a small test part uneven
        counts = Counter(targets[rows].tolist())
        if all(taken[one] + count <= wanted[one] + 0.5 for one, count in counts.items()):
            out[rows] = True
            for one, count in counts.items():
                taken[one] += count
    for one in wanted:
        if not 0 < int(out[targets == one].sum()) < int((targets == one).sum()):
            raise DatasetError(
                f"class number {one + 1} has {int((targets == one).sum())} pictures, too few or too alike to "
                "split; add pictures or change the share"
            )
    return out


def leaks(out: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64]) -> int:
    """How many kept-out pictures have a near-duplicate among the others."""
    return int(np.isin(groups[out], groups[~out]).sum())


def contact_sheet(pictures: Sequence[tuple[Image, str]], *, columns: int = 6, side: int = 160) -> Image:
    """Small pictures with a line of words under each, as one picture."""
    strip = 34
    rows = -(-max(1, len(pictures)) // columns)
    sheet = np.full((rows * (side + strip), columns * side, 3), 255, dtype=np.uint8)
    for number, (image, words) in enumerate(pictures):
        top, left = number // columns * (side + strip), number % columns * side
        scale = (side - 6) / max(image.shape[:2])
        size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        sheet[top + 3 : top + 3 + size_wh[1], left + 3 : left + 3 + size_wh[0]] = small
        for line, text in enumerate(words.split("\n")[:2]):
            place = (left + 4, top + side + 12 + 15 * line)
            cv2.putText(sheet, text[:24], place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet

"""Look through a data set before it is trained on: counts, sizes, doubles, pictures of samples."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch.annotate import annotate
from maskwatch.class_folders import ClassFolders, contact_sheet, difference_hash, group_alike, split
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage
from maskwatch.errors import ImageError
from maskwatch.files import saving
from maskwatch.frames import Image
from maskwatch.labels import LABELS

Said = Callable[[int, int], None]


def hashes_of(
    images: Sequence[LabelledImage], report: Said = lambda done, total: None
) -> tuple[npt.NDArray[np.bool_], dict[str, str]]:
    """Difference hashes (n, 256) of labelled pictures, and those that cannot be read, with the reason."""
    hashes, corrupt = [], {}
    for done, image in enumerate(images, 1):
        try:
            hashes.append(difference_hash(read_picture(image.path, needed_side=64).image))
        except ImageError as error:
            corrupt[str(image.path)] = str(error)
            hashes.append(np.random.default_rng(done).random(256) < 0.5)
        report(done, len(images))
    return np.array(hashes, dtype=np.bool_).reshape(-1, 256), corrupt


def check_labels(images: Sequence[LabelledImage], report: Said = lambda done, total: None) -> dict[str, Any]:
    """What one should know of labelled pictures, as plain values."""
    hashes, corrupt = hashes_of(images, report)
    group_sizes = Counter(group_alike(hashes).tolist())
    labels = Counter(name for image in images for name in image.faces.label_names)
    sizes = np.concatenate([image.faces.size for image in images] or [np.zeros(0, np.float32)])
    outside = 0
    for image in images:
        most = np.array(image.size_wh * 2, dtype=np.float32)
        outside += int(((image.faces.xyxy < -1) | (image.faces.xyxy > most + 1)).any(axis=1).sum())
    return {
        "pictures": len(images),
        "without_faces": sum(len(image.faces) == 0 for image in images),
        "faces": {name: labels.get(name, 0) for name in LABELS},
        "ignored": sum(int(image.ignore.sum()) for image in images),
        "face_px": {
            name: round(float(np.percentile(sizes, share)), 1) if len(sizes) else 0.0
            for name, share in (("p5", 5), ("median", 50), ("p95", 95))
        },
        "boxes_outside": outside,
        "corrupt": corrupt,
        "near_duplicates": sum(count - 1 for count in group_sizes.values()),
        "near_duplicate_groups": sum(count > 1 for count in group_sizes.values()),
    }


def label_words(report: dict[str, Any]) -> list[str]:
    """The report of `check_labels` as lines for people; troubles start with "!"."""
    faces = ", ".join(f"{name} {count}" for name, count in report["faces"].items())
    size = report["face_px"]
    lines = [
        f"{report['pictures']} pictures, {report['without_faces']} of them without faces; faces: {faces}",
        f"face sizes: 5 % under {size['p5']:g}, half under {size['median']:g}, 95 % under {size['p95']:g} px",
    ]
    if report["corrupt"]:
        lines.append(f"! {len(report['corrupt'])} unreadable: {', '.join(list(report['corrupt'])[:3])}")
    if report["boxes_outside"]:
        lines.append(f"! {report['boxes_outside']} boxes reach outside their picture")
    if report["near_duplicates"]:
        lines.append(
            f"! {report['near_duplicates']} near duplicates in {report['near_duplicate_groups']} groups; "
            "divide with `maskwatch data split`, which keeps groups together"
        )
    missing = [name for name, count in report["faces"].items() if not count]
    if missing:
        lines.append(f"! no face is labelled {', '.join(missing)}")
    return lines


def sample_sheet(data: ClassFolders | Sequence[LabelledImage], *, count: int = 24, seed: int = 0) -> Image:
    """Some pictures at random, with their class, or with their boxes drawn."""
    rng = np.random.default_rng(seed)
    shown = []
    if isinstance(data, ClassFolders):
        for row in rng.permutation(len(data.pictures))[:count]:
            picture = data.pictures[int(row)]
            image = read_picture(picture.path, needed_side=320).image
            shown.append((image, f"{data.classes[picture.class_index]}\n{picture.path.name}"))
        return contact_sheet(shown)
    for row in rng.permutation(len(data))[:count]:
        labelled = data[int(row)]
        try:
            image = read_picture(labelled.path).image
        except ImageError:
            continue
        drawn = annotate(image, labelled.faces, with_score=False)
        shown.append((drawn, f"{len(labelled.faces)} faces\n{labelled.path.name}"))
    return contact_sheet(shown, columns=4, side=320)


def split_folders(data: ClassFolders, folder: Path, *, share: float, seed: int) -> dict[str, int]:
    """Copy class folders to `folder/train` and `folder/test`; near-duplicates stay on one side.

    Raises:
        DatasetError: a class is too small to divide.
        SourceError: a picture cannot be copied.
    """
    out = split(data.targets, data.groups, share, seed)
    for picture, kept_out in zip(data.pictures, out, strict=True):
        part = "test" if kept_out else "train"
        target = folder / part / picture.path.relative_to(data.root)
        with saving(target) as partial:
            shutil.copyfile(picture.path, partial)
    return {"train": int((~out).sum()), "test": int(out.sum())}


def split_labelled(
    images: Sequence[LabelledImage], *, share: float, seed: int, report: Said = lambda done, total: None
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Training and test pictures; near-duplicates stay on one side, rare labels are spread over both.

    Raises:
        DatasetError: there are too few pictures.
    """
    hashes, _ = hashes_of(images, report)
    rarest = [int(image.faces.label.max()) + 1 if len(image.faces) else 0 for image in images]
    out = split(np.array(rarest, dtype=np.int64), group_alike(hashes), share, seed)
    pairs = list(zip(images, out, strict=True))
    return [image for image, kept in pairs if not kept], [image for image, kept in pairs if kept]

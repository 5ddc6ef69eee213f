"""Read the label files that other tools write: Pascal VOC (AIZOO, Kaggle), YOLO, COCO."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET  # files with a DOCTYPE are refused before parsing
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from maskwatch.class_folders import SUFFIXES
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage, checked_boxes, label_index, read_coco
from maskwatch.detections import Detections
from maskwatch.errors import DatasetError, ImageError
from maskwatch.files import LARGEST_SETTINGS_BYTES, read_bytes, read_text
from maskwatch.labels import LABELS
from maskwatch.suggest import did_you_mean, neighbours

LabelFormat = Literal["auto", "voc", "yolo", "coco"]
LABEL_FORMATS: Final[tuple[LabelFormat, ...]] = get_args(LabelFormat)
SMALLEST_PX = 8.0
LARGEST_LABELS_BYTES = 16 * 2**20
"""Labels of one picture."""

Box = tuple[float, float, float, float, str]
"""x1, y1, x2, y2 in px and the name of the label."""


def read_labels(
    source: Path,
    kind: LabelFormat = "auto",
    *,
    labels: dict[str, str] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[LabelledImage]:
    """All labelled pictures below `source`, whatever tool labelled them.

    `labels` says what names mean that are no known alias.

    Raises:
        DatasetError: there are none, a file is damaged, a label means nothing, a picture is missing.
    """
    if not source.exists():
        means = did_you_mean(source.name, neighbours(source))
        raise DatasetError(f"{source}: no such file or folder; check the path{means}")
    kind = _guess(source) if kind == "auto" else kind
    if kind == "coco":
        return read_coco(source)
    pictures = {path.stem: path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES}
    suffix = ".xml" if kind == "voc" else ".txt"
    files = [path for path in sorted(source.rglob(f"*{suffix}")) if path.stem in pictures]
    if not files:
        raise DatasetError(f"{source}: no {suffix} file has a picture of the same name; check the folder")
    names = [] if kind == "voc" else _yolo_names(source)
    found = []
    for done, file in enumerate(files, 1):
        picture = pictures[file.stem]
        size_wh = _size(picture)
        rows = _voc(file) if kind == "voc" else _yolo(file, names, size_wh)
        found.append(_labelled(file, picture, size_wh, rows, labels or {}))
        report(done, len(files))
    return found


def _guess(source: Path) -> LabelFormat:
    if source.suffix.lower() == ".json" or (source / "annotations.json").is_file():
        return "coco"
    if next(source.rglob("*.xml"), None) is not None:
        return "voc"
    if next(source.rglob("*.txt"), None) is not None:
        return "yolo"
    raise DatasetError(f"{source}: neither annotations.json nor .xml nor .txt labels; check the folder")


def _size(picture: Path) -> tuple[int, int]:
    try:
        return read_picture(picture, needed_side=64).size_wh
    except ImageError as error:
        raise DatasetError(f"{error}; remove it and its labels") from error


def _voc(file: Path) -> list[Box]:
    try:
        text = read_bytes(file, LARGEST_LABELS_BYTES).decode("utf-8", "replace")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DatasetError(f"{file}: label files with a DOCTYPE are not read; remove it")
        rows: list[Box] = []
        for thing in ET.fromstring(text).iter("object"):  # noqa: S314 — see the import
            x1, y1, x2, y2 = (
                float(thing.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax")
            )
            rows.append((x1, y1, x2, y2, str(thing.findtext("name") or "")))
        return rows
    except (OSError, ValueError, ET.ParseError, RecursionError) as error:
        raise DatasetError(f"{file}: no Pascal VOC labels ({error}); check how it was written") from error


def _yolo_names(source: Path) -> list[str]:
    """Label names in order, from data.yaml, classes.txt or obj.names; ours where there are none."""
    for name in ("classes.txt", "obj.names"):
        for file in sorted(source.rglob(name)):
            return [line.strip() for line in _settings(file).splitlines() if line.strip()]
    for file in sorted([*source.rglob("*.yaml"), *source.rglob("*.yml")]):
        names = _names_of_yaml(_settings(file))
        if names:
            return names
    return list(LABELS)


def _settings(file: Path) -> str:
    try:
        return read_text(file, LARGEST_SETTINGS_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetError(f"{file}: no list of label names ({reason}); check it") from error


def _names_of_yaml(text: str) -> list[str]:
    """The list or map behind `names:`, in the two forms that YOLO tools write; [] where there is none."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("names:"):
            continue
        rest = line[len("names:") :].strip()
        if rest.startswith("["):
            for more in lines if "]" not in rest else ():
                rest += more
                if "]" in more:
                    break
            parts = rest[1:].partition("]")[0].split(",") if "]" in rest else []
            return [part.strip().strip("'\"") for part in parts if part.strip()]
        block = itertools.takewhile(lambda one: not one.strip() or one[0] in " \t-", lines)
        entries = [one.strip().lstrip("- ") for one in block if one.strip()]
        return [re.sub(r"^\d+\s*:\s*", "", one).strip("'\" ") for one in entries]
    return []


def _yolo(file: Path, names: list[str], size_wh: tuple[int, int]) -> list[Box]:
    rows: list[Box] = []
    width, height = size_wh
    try:
        for line in read_text(file, LARGEST_LABELS_BYTES).splitlines():
            if not line.strip():
                continue
            index, x, y, w, h = line.split()[:5]
            left, top = (float(x) - float(w) / 2) * width, (float(y) - float(h) / 2) * height
            right, bottom = left + float(w) * width, top + float(h) * height
            if int(index) < 0:
                raise ValueError(f"label {index}")  # noqa: TRY301 — gets the file's name below
            rows.append((left, top, right, bottom, names[int(index)]))
    except (OSError, ValueError, IndexError) as error:
        raise DatasetError(f"{file}: no YOLO labels ({error}); check it, and the list of names") from error
    return rows


def _labelled(
    file: Path, picture: Path, size_wh: tuple[int, int], rows: list[Box], labels: dict[str, str]
) -> LabelledImage:
    indexes = []
    for row in rows:
        index = label_index(labels.get(row[4], row[4]))
        if index is None:
            raise DatasetError(
                f"{file}: label {row[4]!r} means nothing here; say what: --label {row[4]}=with_mask"
            )
        indexes.append(index)
    try:
        xyxy = checked_boxes([row[:4] for row in rows])
    except ValueError as error:
        raise DatasetError(f"{file}: {error}; correct or remove it") from error
    xyxy = np.clip(xyxy, 0, np.array([*size_wh, *size_wh], dtype=np.float32))
    faces = Detections(
        xyxy=xyxy, score=np.ones(len(rows), dtype=np.float32), label=np.array(indexes, dtype=np.int8)
    )
    return LabelledImage(picture, size_wh, faces, np.asarray(faces.size < SMALLEST_PX))

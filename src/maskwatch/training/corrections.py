"""Mends labels: a JSON file of our own that says which faces of a data set are labelled wrongly.

The file maps a picture's file name to entries `{"bbox": [x, y, w, h], "label": …}` in px. A face whose
box overlaps `bbox` gets the label, or none to be learnt where the label is "ignore"; without such
a face one is added. "moved", another box, replaces one that does not fit the face tightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.datasets import LabelledImage, checked_boxes, label_index
from maskwatch.detections import Detections
from maskwatch.errors import DatasetError
from maskwatch.files import LARGEST_TEXT_BYTES, read_json
from maskwatch.labels import WITHOUT_MASK

SAME_FACE_IOU = 0.6
IGNORE = "ignore"


@dataclass(frozen=True, eq=False)
class Correction:
    """One mended face.

    Attributes:
        xyxy: (4,) px, where the face is, or the box of the label to be mended.
        label: index of the right label, None where the face is to be ignored.
        moved_xyxy: (4,) px, the right box, None where `xyxy` is.
    """

    xyxy: npt.NDArray[np.float32]
    label: int | None
    moved_xyxy: npt.NDArray[np.float32] | None = None


Corrections = Mapping[str, Sequence[Correction]]
"""By file name of the picture."""


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections.

    Raises:
        DatasetError: it cannot be read, or an entry is none.
    """
    try:
        content: dict[str, list[dict[str, Any]]] = read_json(path, LARGEST_TEXT_BYTES)
        return {name: [_correction(entry) for entry in entries] for name, entries in content.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{path}: no file of corrections ({what}); see configs/README.md") from error


def _correction(entry: dict[str, Any]) -> Correction:
    label = None if entry["label"] == IGNORE else label_index(entry["label"])
    if label is None and entry["label"] != IGNORE:
        raise ValueError(f"unknown label {entry['label']!r}")
    moved = _xyxy(entry["moved"]) if "moved" in entry else None
    return Correction(_xyxy(entry["bbox"]), label, moved)


def _xyxy(bbox: Sequence[float]) -> npt.NDArray[np.float32]:
    if len(bbox) != 4:
        raise ValueError(f"bbox {bbox} has not four numbers")
    return boxes.from_xywh(checked_boxes([bbox]))[0]


def corrected(
    image: LabelledImage, corrections: Sequence[Correction]
) -> tuple[LabelledImage, npt.NDArray[np.bool_]]:
    """`image` with its labels mended, and which of its faces have a box set by hand: (n,) bool."""
    xyxy, label = image.faces.xyxy.copy(), image.faces.label.copy()
    ignore, tight = image.ignore.copy(), np.zeros(len(label), dtype=bool)
    for one in corrections:
        overlap = boxes.iou(one.xyxy[None], xyxy)[0]
        if overlap.max(initial=0.0) >= SAME_FACE_IOU:
            row = int(overlap.argmax())
        else:
            row = len(label)
            xyxy = np.concatenate([xyxy, one.xyxy[None]])
            label = np.append(label, np.int8(WITHOUT_MASK))
            ignore, tight = np.append(ignore, False), np.append(tight, True)
        ignore[row] = one.label is None
        if one.label is not None:
            label[row] = one.label
        if one.moved_xyxy is not None:
            xyxy[row], tight[row] = one.moved_xyxy, True
    faces = Detections(xyxy=xyxy, score=np.ones(len(label), np.float32), label=label)
    return replace(image, faces=faces, ignore=ignore), tight

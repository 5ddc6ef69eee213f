"""Faces seen from near, as in a selfie: found at every size, and nothing around them taken for a face?

Photos of the open validation sets whose largest face takes up at least a quarter of the longer side are
scaled until that face has 128, 256, 512 and 1024 px. A detection that overlaps no face, labelled or left
out, by a tenth is a false alarm; some are faces that nobody labelled, the same ones at each size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.photos import tight_photos
from maskwatch import boxes
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage
from maskwatch.detector import DetectOptions, Detector, packaged_models

FACE_PX = (128, 256, 512, 1024)
LEAST_SHARE = 0.25
LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Near:
    """How a model does on pictures whose largest face has one size.

    Attributes:
        pictures: number of pictures, each with one largest face.
        found: share of largest faces that are found.
        right: share of those found that have the right label.
        false_alarms: number of detections without a face, in all pictures.
    """

    pictures: int
    found: float
    right: float
    false_alarms: int


def run(shared: Path) -> dict[str, Any]:
    """Print and give `Near` for each of our models and each face size."""
    close = [image for image in tight_photos(shared) if _is_close(image)]
    figures: dict[str, Any] = {}
    print("| largest face, px | " + " | ".join(map(str, FACE_PX)) + " |")
    print("|---|" + "---|" * len(FACE_PX))
    for model in packaged_models():
        detector = Detector(model, DetectOptions(threads=1, max_side=LARGEST_SIDE))
        rows = {str(face_px): judge(detector, close, face_px) for face_px in FACE_PX}
        figures[model] = {face_px: row.__dict__ for face_px, row in rows.items()}
        cells = [f"{row.found:.1%}, {row.right:.1%}, {row.false_alarms}" for row in rows.values()]
        print(f"| {model}: found, right, false alarms in {len(close)} photos | {' | '.join(cells)} |")
    return figures


def judge(detector: Detector, images: Sequence[LabelledImage], face_px: float) -> Near:
    """Detect in `images` scaled until the largest face of each has `face_px`."""
    found, right, false_alarms = 0, 0, 0
    for image in images:
        largest = _largest(image)
        scale = face_px / float(image.faces.size[largest])
        pixels = read_picture(image.path).image
        way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        scaled = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way).astype(np.uint8, copy=False)
        faces = detector.detect(scaled)
        if not len(faces):
            continue
        overlap = boxes.iou(faces.xyxy / np.float32(scale), image.faces.xyxy)
        best = int(overlap[:, largest].argmax())
        if overlap[best, largest] >= 0.5:
            found += 1
            right += int(faces.label[best] == image.faces.label[largest])
        false_alarms += int((overlap.max(axis=1) < 0.1).sum())
    return Near(len(images), found / max(len(images), 1), right / max(found, 1), false_alarms)


def _largest(image: LabelledImage) -> int:
    """Row of the largest labelled face; of any where all are left out."""
    return int(np.where(image.ignore, 0, image.faces.size).argmax())


def _is_close(image: LabelledImage) -> bool:
    """Whether the largest labelled face takes up `LEAST_SHARE` of the longer side."""
    counts = not image.ignore.all()
    return counts and bool(image.faces.size[_largest(image)] >= LEAST_SHARE * max(image.size_wh))

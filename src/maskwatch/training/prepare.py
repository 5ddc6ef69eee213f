"""From labelled pictures to training pictures: landmarks, unlabelled faces, loose boxes.

A face detector with landmarks (YuNet through OpenCV) looks at every picture once. Its findings
serve three ends: landmarks on unmasked faces, so that masks can be drawn on them; faces that
nobody labelled, which then neither reward nor punish; and, in data sets whose boxes hold the
whole head, the tight box of a face. Labels mended by hand come first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.errors import TrainingError
from maskwatch.files import LARGEST_TEXT_BYTES, read_json, write_whole
from maskwatch.onnx_session import read_model_file
from maskwatch.opencv_faces import LARGEST_MODEL_BYTES, load_yunet
from maskwatch.training.corrections import Corrections, corrected

SURE_SCORE = 0.8
"""A face detector's find counts as an unlabelled face from this score on."""


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """What the face detector found in one picture: boxes (n, 4), scores (n,), landmarks (n, 5, 2)."""

    xyxy: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """A labelled picture with what training needs beside.

    Attributes:
        labelled: path, faces and ignore flags.
        landmarks: (n, 5, 2) px, NaN where unknown.
    """

    labelled: LabelledImage
    landmarks: npt.NDArray[np.float32]


def known(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of the faces (n,) have landmarks, of (n, 5, 2) with NaN where unknown."""
    return np.asarray(np.isfinite(landmarks).all(axis=(1, 2)))


class FaceFinder:
    """YuNet through OpenCV's FaceDetectorYN, at the picture's own size and at twice that."""

    def __init__(self, model: Path, score_threshold: float = 0.6) -> None:
        """`model` is an ONNX file of YuNet, for example face_detection_yunet_2023mar.onnx.

        Raises:
            ModelError: OpenCV cannot load it.
        """
        data = read_model_file(model, LARGEST_MODEL_BYTES)
        self._net = load_yunet(data, str(model), score_threshold, overlap=0.3)

    def find(self, image_bgr: npt.NDArray[np.uint8]) -> FoundFaces:
        """Faces of a BGR picture (h, w, 3), best first; the finer look adds what the first missed."""
        rows = np.concatenate([self._look(image_bgr, zoom) for zoom in (1.0, 2.0)])
        order = np.argsort(-rows[:, 14], kind="stable")
        rows = rows[order]
        xyxy = boxes.from_xywh(rows[:, :4])
        keep: list[int] = []
        for row in range(len(rows)):
            if not keep or boxes.iou(xyxy[row : row + 1], xyxy[keep]).max() < 0.4:
                keep.append(row)
        return FoundFaces(xyxy[keep], rows[keep, 14], rows[keep, 4:14].reshape(-1, 5, 2))

    def _look(self, image_bgr: npt.NDArray[np.uint8], zoom: float) -> npt.NDArray[np.float32]:
        zoomed = image_bgr if zoom == 1 else cv2.resize(image_bgr, None, fx=zoom, fy=zoom)
        self._net.setInputSize((zoomed.shape[1], zoomed.shape[0]))
        _, rows = self._net.detect(zoomed)
        if rows is None:
            return np.zeros((0, 15), dtype=np.float32)
        return np.concatenate([rows[:, :14] / zoom, rows[:, 14:]], axis=1).astype(np.float32)


def find_all(
    images: Sequence[LabelledImage], finder: FaceFinder | None, cache: Path
) -> dict[str, FoundFaces]:
    """Findings by file name; read from the JSON file `cache` where it has them, written there else.

    Without a `finder` only what the cache has is known.

    Raises:
        TrainingError: a picture cannot be read.
    """
    known = _known(cache)
    missing = [image for image in images if image.path.name not in known]
    for image in missing if finder is not None else []:
        assert finder is not None
        found = finder.find(read_bgr(image.path))
        table = np.concatenate([found.xyxy, found.score[:, None], found.landmarks.reshape(-1, 10)], axis=1)
        known[image.path.name] = np.round(table, 2).tolist()
    if missing and finder is not None:
        write_whole(cache, json.dumps(known))
    tables = {name: np.array(rows, dtype=np.float32).reshape(-1, 15) for name, rows in known.items()}
    return {
        name: FoundFaces(table[:, :4], table[:, 4], table[:, 5:].reshape(-1, 5, 2))
        for name, table in tables.items()
    }


def _known(cache: Path) -> dict[str, list[list[float]]]:
    """What the cache has: nothing where it is missing, or damaged, as all of it can be found again."""
    try:
        content = read_json(cache, LARGEST_TEXT_BYTES)
        for rows in content.values():
            np.array(rows, dtype=np.float32).reshape(-1, 15)
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return {}
    return dict(content)


def read_bgr(path: Path) -> npt.NDArray[np.uint8]:
    """A picture (h, w, 3) in BGR as annotation tools saw it: EXIF rotation is not applied.

    Raises:
        TrainingError: it cannot be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise TrainingError(f"{path}: cannot be read as a picture; remove it from the annotations")
    return image.astype(np.uint8, copy=False)


def prepare(
    images: Iterable[LabelledImage],
    found: dict[str, FoundFaces],
    *,
    corrections: Corrections | None = None,
    loose_sets: Sequence[str] = (),
    loose_share: float = 0.0,
) -> list[TrainingImage]:
    """Join labels, corrections and findings.

    An unlabelled face becomes an ignored one. In `loose_sets`, whose boxes hold the whole head, a
    found face that lies in a labelled head replaces its box, or goes by `loose_share` of the way towards
    it; a head without one is ignored, as learning it would teach to put a second box around a face.
    """
    nothing = FoundFaces(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
    )
    prepared = []
    for image in images:
        mended, tight = corrected(image, (corrections or {}).get(image.path.name, ()))
        loose = ~tight if image.set_name in loose_sets else np.zeros_like(tight)
        prepared.append(_join(mended, found.get(image.path.name, nothing), loose, loose_share))
    return prepared


def _join(
    image: LabelledImage, found: FoundFaces, loose: npt.NDArray[np.bool_], loose_share: float
) -> TrainingImage:
    faces = image.faces
    overlap = boxes.iou(faces.xyxy, found.xyxy)
    # a tight box lies in the loose one, which is at most 5 times its area
    inside = boxes.covered(found.xyxy, faces.xyxy).T > 0.8
    ratio = boxes.area(found.xyxy)[None, :] / np.maximum(boxes.area(faces.xyxy)[:, None], 1)
    within_head = loose[:, None] & inside & (ratio > 0.2)
    overlap = np.where(within_head, np.maximum(overlap, 0.5), overlap)
    landmarks = np.full((len(faces), 5, 2), np.nan, dtype=np.float32)
    xyxy, ignore = faces.xyxy.copy(), image.ignore | loose
    for row, column in _greedy_pairs(overlap, 0.45):
        landmarks[row] = found.landmarks[column]
        if loose[row]:
            xyxy[row] = (1 - loose_share) * found.xyxy[column] + loose_share * xyxy[row]
            ignore[row] = image.ignore[row]
    near = np.maximum(overlap, boxes.covered(found.xyxy, faces.xyxy).T) > 0.3
    unlabelled = (found.score >= SURE_SCORE) & ~near.any(axis=0)
    extra = found.xyxy[unlabelled]
    added = Detections(xyxy=extra, score=np.ones(len(extra), np.float32), label=np.ones(len(extra), np.int8))
    return TrainingImage(
        labelled=replace(
            image,
            faces=Detections.concatenate([replace(faces, xyxy=xyxy), added]),
            ignore=np.concatenate([ignore, np.ones(len(extra), dtype=bool)]),
        ),
        landmarks=np.concatenate([landmarks, np.full((len(extra), 5, 2), np.nan, np.float32)]),
    )


def _greedy_pairs(overlap: npt.NDArray[np.float32], threshold: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of an overlap matrix, best first, each row and column once."""
    pairs = []
    left = overlap.copy()
    while left.size and left.max() >= threshold:
        row, column = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        pairs.append((row, column))
        left[row, :], left[:, column] = -1, -1
    return pairs

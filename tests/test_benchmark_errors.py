"""What each kind of error costs: repairs of detections, and of the data's own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.errors import REPAIRS, REVIEW, Matched
from benchmarks.photos import tight_photos

from maskwatch import Detections, boxes
from maskwatch.datasets import LabelledImage
from maskwatch.evaluate import evaluate
from maskwatch.training.corrections import SAME_FACE_IOU, read_corrections

SQUARE = np.array([0, 0, 20, 20], np.float32)


def faces(*places, labels, scores=None):
    xyxy = np.stack([SQUARE + np.float32([x, y, x, y]) for x, y in places])
    score = np.ones(len(places)) if scores is None else np.array(scores)
    return Detections(xyxy, score.astype(np.float32), np.array(labels, np.int8))


def test_each_repair_mends_its_own_kind_of_error():
    """Of four faces one has the wrong label, one a box that is off, one is missed; one find is no face."""
    truth = LabelledImage(
        path=Path("photo.jpg"),
        size_wh=(640, 480),
        faces=faces((0, 0), (100, 0), (200, 0), (300, 0), labels=[1, 1, 1, 1]),
        ignore=np.zeros(4, dtype=bool),
    )
    found = faces((0, 0), (100, 0), (212, 0), (500, 0), labels=[1, 0, 1, 1], scores=[0.9, 0.8, 0.7, 0.95])
    matched = Matched.of(truth, found)
    repaired = {name: repair(matched) for name, repair in REPAIRS.items()}
    ap = {name: evaluate([one], [seen]).ap["without_mask"] for name, (one, seen) in repaired.items()}
    assert ap["as it is"] == ap["the data mended"]  # nobody reviewed this photo
    for name in ("labels right", "boxes right", "no false alarms", "nothing missed"):
        assert ap[name] > ap["as it is"], name


def test_the_review_mends_labels_and_leaves_out_faces_without_one(shared):
    review = read_corrections(REVIEW)
    photos = {image.path.name: image for image in tight_photos(shared)}
    assert set(review) <= set(photos)
    for name, entries in review.items():
        labelled = photos[name].faces
        for entry in entries:
            overlap = boxes.iou(entry.xyxy[None], labelled.xyxy)[0]
            if entry.label is None:
                assert overlap.max(initial=0) < SAME_FACE_IOU
            else:
                assert overlap.max() >= SAME_FACE_IOU
                assert labelled.label[overlap.argmax()] != entry.label

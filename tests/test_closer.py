"""Large photos: one with small faces, or none at first, is looked at from closer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskwatch import Detections, DetectOptions, Detector, Frame
from maskwatch.boxes import iou
from maskwatch.closer import is_worth_it
from maskwatch.codec import Letterboxed
from tests.conftest import crowd


@pytest.mark.parametrize(
    ("size_wh", "sizes", "scores", "closer"),
    [
        ((4096, 3072), [400.0], [0.9], False),
        ((4096, 3072), [400.0, 100.0], [0.9, 0.9], True),  # 25 px at the first look
        ((4096, 3072), [400.0, 100.0], [0.9, 0.2], False),  # not sure enough to ask
        ((4096, 3072), [], [], True),
        ((1024, 768), [10.0], [0.9], False),
        ((1100, 768), [], [], False),  # 1.07 times as large
    ],
)
def test_small_faces_of_scaled_down_photos_call_for_a_closer_look(size_wh, sizes, scores, closer):
    content_wh = (1024, 768)
    one = Letterboxed(np.zeros((768, 1024, 3), np.uint8), content_wh, size_wh)
    corners = np.array([[0, 0, size, size] for size in sizes]).reshape(-1, 4)
    faces = Detections(corners, np.array(scores), np.zeros(len(sizes)))
    assert is_worth_it(one, faces, 0.45) is closer


@pytest.mark.parametrize("quarters", [0, 1])
def test_faces_that_scaling_would_hide_are_found(astronaut, face_box, quarters):
    """17 px high in the photo, 9 px at the first look; on its side, too."""
    photo, expected = crowd(astronaut, face_box, face_px=17, size_wh=(2048, 1536))
    if quarters:
        photo = np.ascontiguousarray(np.rot90(photo, quarters))
        expected = np.stack(
            [expected[:, 1], 2048 - expected[:, 2], expected[:, 3], 2048 - expected[:, 0]], axis=1
        )
    found = Detector().detect(photo)
    assert (iou(expected, found.xyxy).max(axis=1, initial=0) > 0.5).mean() > 0.9
    at_once = Detector(options=DetectOptions(max_side=1024)).detect(photo)
    assert len(at_once) < len(expected) / 2
    assert Detector().detect(Frame(photo, 0, 0.0, "camera")) == at_once


def test_every_source_is_looked_at_from_closer(astronaut, face_box, tmp_path):
    """A file is decoded a second time, at the larger scale."""
    photo, expected = crowd(astronaut, face_box, face_px=34, size_wh=(4096, 3072))
    path = tmp_path / "crowd.jpg"
    cv2.imwrite(str(path), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    detector = Detector()
    from_path, from_bytes = detector.detect(path), detector.detect(path.read_bytes())
    assert from_path == from_bytes
    assert (iou(expected, from_path.xyxy).max(axis=1, initial=0) > 0.5).mean() > 0.9

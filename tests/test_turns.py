"""Photos on their side or head: their faces are found as if they stood upright, in their own pixels."""

from __future__ import annotations

import numpy as np
import pytest

from maskwatch import Detections, DetectOptions, Detector, Frame, turns
from maskwatch.boxes import iou
from maskwatch.codec import Picture, letterbox


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_boxes_come_back_to_the_pixels_they_were_found_in(quarters):
    """A bright field is found by its brightness in the turned picture, at half the size."""
    image = np.zeros((80, 120, 3), np.uint8)
    image[20:32, 60:100] = 255
    whole = letterbox(Picture(image, (120, 80), "field"), max_side=240, size_multiple=32)
    turned = turns.turned(whole, quarters, max_side=60, size_multiple=32)
    assert turned.size_wh == ((120, 80) if quarters % 2 == 0 else (80, 120))
    assert max(turned.content_wh) == 60
    rows, columns = np.nonzero(turned.pixels[..., 0] > 127)
    corners = 2 * np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    found = turns.turned_back(Detections(corners, np.ones(1), np.zeros(1)), quarters, (120, 80))
    np.testing.assert_array_equal(found.xyxy, [[60, 20, 100, 32]])


def test_a_picture_is_never_blown_up():
    scaled = letterbox(
        Picture(np.zeros((400, 600, 3), np.uint8), (600, 400), "x"), max_side=90, size_multiple=32
    )
    for side in (None, 320):
        assert turns.turned(scaled, 1, max_side=side, size_multiple=32).content_wh == (60, 90)


@pytest.mark.parametrize(
    ("shown", "glances", "way"),
    [
        (0.0, [0.9, 0.2, 0.0], 1),
        (0.5, [0.2, 0.3, 0.95], 3),
        (0.0, [0.7, 0.7, 0.7], 0),  # nothing is sure enough to turn a photo for
        (0.93, [0.94, 0.1, 0.1], 0),  # hardly better
        (0.99, [0.95, 0.95, 0.95], 0),
    ],
)
def test_a_photo_is_turned_for_a_much_surer_face_alone(shown, glances, way):
    assert turns.better_way(shown, glances) == way


@pytest.mark.parametrize(
    ("model", "quarters"), [("small", 1), ("small", 2), ("nano", 1), ("nano", 2), ("nano", 3)]
)
def test_a_turned_photo_is_judged_as_the_upright_one(astronaut, model, quarters):
    detector = Detector(model)
    upright = detector.detect(astronaut)
    found = detector.detect(np.ascontiguousarray(np.rot90(astronaut, quarters)))
    assert found.verdict_names == upright.verdict_names
    np.testing.assert_allclose(found.score, upright.score, atol=1e-3)
    (expected,) = turns.turned_back(upright, -quarters, (512, 512)).xyxy
    np.testing.assert_allclose(found.xyxy[0], expected, atol=0.5)


def test_a_photo_that_is_sure_on_its_side_is_judged_as_it_hangs(astronaut):
    """`small` is sure of this one: the verdict and the place are the upright one's all the same."""
    aside = np.ascontiguousarray(np.rot90(astronaut, 3))
    found = Detector("small").detect(aside)
    assert turns.best_score(found) >= turns.SURE_SCORE
    assert found == Detector("small", DetectOptions(turned=False)).detect(aside)
    upright = Detector("small").detect(astronaut)
    assert found.verdict_names == upright.verdict_names
    assert iou(found.xyxy, turns.turned_back(upright, -3, (512, 512)).xyxy)[0, 0] > 0.6


def test_pictures_of_a_stream_are_looked_at_once(astronaut, face_box):
    """Frames are many, and a camera hangs as it hangs; whoever asks for one look gets one, too."""
    aside = np.ascontiguousarray(np.rot90(astronaut, 2))
    alone = Detector(options=DetectOptions(turned=False)).detect(aside)
    frame = Frame(aside, 0, 0.0, "camera")
    detector = Detector()
    assert detector.detect(frame) == alone
    first, second = detector.detect([frame, aside])
    assert first == alone
    back = turns.turned_back(second, 2, (512, 512))
    assert iou(back.xyxy, face_box)[0, 0] > 0.6


def test_a_photo_without_faces_stays_without(astronaut):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    for picture in (noise, np.zeros((10, 10, 3), np.uint8), np.full((1, 500, 3), 200, np.uint8)):
        assert len(Detector().detect(picture)) == 0

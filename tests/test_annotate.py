import numpy as np
import pytest

from maskwatch import Detections, ImageError, annotate, blur_faces


def faces(verdict, xyxy=((100, 100, 200, 220),), **columns):
    count = len(xyxy)
    return Detections(
        xyxy=np.array(xyxy, float),
        score=np.full(count, 0.87),
        label=np.minimum(np.full(count, verdict), 2),
        verdict=np.full(count, verdict),
        **columns,
    )


def grey(image):
    return image.astype(int).mean(axis=2)


def test_each_verdict_looks_different_even_without_colour(astronaut):
    drawn = [grey(annotate(astronaut, faces(verdict))) for verdict in range(4)]
    for one in range(4):
        for other in range(one):
            assert (np.abs(drawn[one] - drawn[other]) > 60).sum() > 200


def test_the_input_stays_and_the_inside_of_the_box_is_free(astronaut):
    before = astronaut.copy()
    drawn = annotate(astronaut, faces(0))
    np.testing.assert_array_equal(astronaut, before)
    np.testing.assert_array_equal(drawn[112:210, 112:190], astronaut[112:210, 112:190])
    assert (drawn[100, 100:200] != astronaut[100, 100:200]).any()


def test_nothing_to_draw(astronaut):
    np.testing.assert_array_equal(annotate(astronaut, Detections.empty()), astronaut)
    np.testing.assert_array_equal(blur_faces(astronaut, Detections.empty()), astronaut)


@pytest.mark.parametrize("xyxy", [(-50, -50, 30, 30), (500, 500, 600, 600), (0, 0, 512, 512), (9, 9, 10, 10)])
def test_boxes_anywhere_are_drawn_without_error(astronaut, xyxy):
    for verdict in range(4):
        detections = faces(verdict, [xyxy], track_id=np.array([12]))
        assert annotate(astronaut, detections).shape == astronaut.shape
        assert blur_faces(astronaut, detections).shape == astronaut.shape


def test_lines_grow_with_the_picture():
    thin, thick = (np.zeros((side, side, 3), np.uint8) for side in (400, 4000))
    small = annotate(thin, faces(0, [(100, 100, 300, 300)]))
    large = annotate(thick, faces(0, [(1000, 1000, 3000, 3000)]))
    assert (large[2000, :2000] > 0).any(axis=1).sum() >= 3 * (small[200, :200] > 0).any(axis=1).sum()


def test_a_blurred_face_keeps_nothing_finer_than_a_sixth_of_it(astronaut):
    """Faces that differ only within the blocks become the same picture."""
    box = Detections(
        xyxy=np.array([[190, 60, 250, 120]], np.float32),
        score=np.ones(1, np.float32),
        label=np.zeros(1, np.int8),
    )
    other = astronaut.copy()
    blocks = other[60:120, 190:250].reshape(6, 10, 6, 10, 3)
    other[60:120, 190:250] = blocks[:, ::-1, :, ::-1].reshape(60, 60, 3)
    hidden, hidden_other = blur_faces(astronaut, box, margin=0), blur_faces(other, box, margin=0)
    assert np.abs(astronaut[70:110, 200:240].astype(int) - other[70:110, 200:240]).mean() > 5
    assert np.abs(hidden[70:110, 200:240].astype(int) - hidden_other[70:110, 200:240]).max() <= 1


def test_a_found_face_loses_its_detail(detector, astronaut):
    found = detector.detect(astronaut)
    hidden = blur_faces(astronaut, found)
    x1, y1, x2, y2 = found.xyxy[0].astype(int)
    before, after = grey(astronaut)[y1:y2, x1:x2], grey(hidden)[y1:y2, x1:x2]
    assert np.abs(np.diff(after, axis=1)).mean() < 0.35 * np.abs(np.diff(before, axis=1)).mean()


def test_what_is_no_picture_is_refused():
    with pytest.raises(ImageError, match="annotate"):
        annotate(np.zeros((4, 4), np.uint8), Detections.empty())

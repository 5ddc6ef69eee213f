import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskwatch import boxes

side = st.floats(-1000, 1000, width=32)
box = st.tuples(side, side, side, side)


def array(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_iou_of_half_overlapping_boxes():
    overlap = boxes.iou(array((0, 0, 10, 10)), array((5, 0, 15, 10), (20, 20, 30, 30)))
    np.testing.assert_allclose(overlap, [[50 / 150, 0]])


def test_covered_is_the_share_of_the_first_box():
    small, large = array((0, 0, 10, 10)), array((0, 0, 20, 10))
    assert boxes.covered(small, large)[0, 0] == 1
    assert boxes.covered(large, small)[0, 0] == 0.5


def test_clip_stops_at_the_borders():
    np.testing.assert_array_equal(boxes.clip(array((-5, -5, 50, 7)), (40, 30)), array((0, 0, 40, 7)))


def test_boxes_are_warped_as_ellipses():
    square = array((10, 10, 30, 30))
    turned = np.array([[0.6, -0.8, 5], [0.8, 0.6, 0]])
    centre = turned[:, :2] @ [20, 20] + turned[:, 2]
    np.testing.assert_allclose(boxes.warped(square, turned), [[*centre - 10, *centre + 10]], rtol=1e-6)
    mirrored = np.array([[-2.0, 0, 100], [0, 0.5, 0]])
    np.testing.assert_allclose(boxes.warped(array((10, 10, 30, 50)), mirrored), [[40, 5, 80, 25]])


def test_empty_arrays_stay_empty():
    nothing = array()
    assert boxes.iou(nothing, array((0, 0, 1, 1))).shape == (0, 1)
    assert boxes.size(nothing).shape == (0,)


@given(st.lists(box, max_size=4), st.lists(box, max_size=4))
def test_iou_lies_between_0_and_1_and_is_symmetric(first, second):
    one, other = array(*first), array(*second)
    overlap = boxes.iou(one, other)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()
    np.testing.assert_allclose(overlap, boxes.iou(other, one).T, atol=1e-5)


@given(st.lists(box, max_size=4))
def test_xywh_and_back(rows):
    xyxy = array(*rows)
    np.testing.assert_allclose(boxes.from_xywh(boxes.to_xywh(xyxy)), xyxy, atol=1e-3)

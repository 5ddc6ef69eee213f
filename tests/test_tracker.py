import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwatch import Detections, OptionError
from maskwatch.tracker import Tracker, TrackOptions, assign


def faces(*xyxy, score=0.9):
    count = len(xyxy)
    return Detections(
        xyxy=np.array(xyxy, float).reshape(-1, 4),
        score=np.full(count, score),
        label=np.zeros(count, int),
    )


def box(x, y, side=40):
    return (x, y, x + side, y + side)


def run(tracker, path, fps=25):
    return [tracker.update(one, index / fps).track_id.tolist() for index, one in enumerate(path)]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
@settings(max_examples=60)
def test_assignment_is_the_cheapest(rows, columns, seed):
    cost = np.random.default_rng(seed).integers(0, 20, (rows, columns)).astype(float)
    pairs = assign(cost)
    assert len(pairs) == min(rows, columns)
    total = sum(cost[pair] for pair in pairs)
    small, large = sorted((rows, columns))
    table = cost if rows <= columns else cost.T
    best = min(
        sum(table[row, column] for row, column in enumerate(choice))
        for choice in itertools.permutations(range(large), small)
    )
    assert total == best


def test_a_moving_face_keeps_its_id():
    path = [faces(box(8 * step, 3 * step)) for step in range(40)]
    assert run(Tracker(), path) == [[]] + [[1]] * 39


def test_two_faces_that_cross_keep_their_ids():
    path = [faces(box(6 * step, 100), box(240 - 6 * step, 120)) for step in range(40)]
    ids = run(Tracker(TrackOptions(confirm_hits=1)), path)
    assert ids == [[1, 2]] * 40


def test_a_short_occlusion_does_not_cost_the_id():
    seen = [faces(box(5 * step, 50)) for step in range(60)]
    path = seen[:20] + [faces()] * 20 + seen[40:]
    ids = run(Tracker(), path)
    assert ids[19] == [1]
    assert ids[20:40] == [[]] * 20
    assert ids[40:] == [[1]] * 20


def test_a_long_absence_starts_a_new_person():
    path = [faces(box(50, 50))] * 5 + [faces()] * 60 + [faces(box(50, 50))] * 5
    ids = run(Tracker(), path)
    assert ids[4] == [1]
    assert ids[-1] == [2]


def test_weak_detections_continue_a_track_but_start_none():
    strong, weak = faces(box(50, 50)), faces(box(52, 50), score=0.2)
    assert run(Tracker(), [weak] * 5) == [[]] * 5
    assert run(Tracker(), [strong, strong, weak, weak, strong]) == [[], [1], [1], [1], [1]]


def test_weak_detections_do_not_keep_a_track_for_ever():
    strong, weak = faces(box(50, 50)), faces(box(52, 50), score=0.2)
    ids = run(Tracker(), [strong] * 5 + [weak] * 60)
    assert ids[30] == [1]
    assert ids[45:] == [[]] * 20


def test_one_false_alarm_is_never_reported():
    path = [faces(box(0, 0)), faces(box(300, 300)), faces(box(0, 0)), faces(box(300, 300))]
    assert run(Tracker(), path) == [[], [], [], []]


def test_fast_small_faces_are_followed_at_a_low_frame_rate():
    path = [faces(box(22 * step, 30, side=20)) for step in range(20)]
    assert run(Tracker(), path, fps=5) == [[]] + [[1]] * 19


def test_frames_between_are_filled_in():
    tracker = Tracker()
    for step in range(10):
        tracker.update(faces(box(10 * step, 0)), step / 10)
    between = tracker.coast(0.95)
    assert between.track_id.tolist() == [1]
    np.testing.assert_allclose(between.xyxy[0, :2], [95, 0], atol=2)
    tracker.update(faces(), 1.0)
    assert tracker.live_ids == {1}
    tracker.update(faces(), 9.0)
    assert tracker.live_ids == frozenset()
    assert len(tracker.coast(9.1)) == 0


def test_other_columns_pass_through():
    tracker = Tracker(TrackOptions(confirm_hits=1))
    given_faces = faces(box(0, 0), box(100, 0))
    tracked = tracker.update(given_faces, 0.0)
    assert (given_faces.track_id == -1).all()
    np.testing.assert_array_equal(tracked.xyxy, given_faces.xyxy)


@pytest.mark.parametrize(
    "options", [{"score_threshold": 2}, {"confirm_hits": 0}, {"lost_after_s": 0}, {"least_iou": -1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        TrackOptions(**options)

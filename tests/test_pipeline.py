import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from maskwatch import Detections, Frame, ImageError, OptionError, SourceError
from maskwatch.frames import ImageFile
from maskwatch.pipeline import (
    Background,
    PeopleWatch,
    detect_files,
    ordered_map,
    prefetch,
    watch_frames,
)
from maskwatch.pipeline.video import usual_every


class Fake:
    """Finds as many faces as the file's name says; "bad" cannot be read."""

    def detect(self, image, /):
        if "bad" in str(image):
            raise ImageError(f"{image}: broken")
        count = int(Path(image).stem)
        time.sleep(0.002 * (5 - count))
        return Detections(xyxy=np.zeros((count, 4)), score=np.ones(count), label=np.zeros(count))


def files(*names):
    return [ImageFile(Path(name), Path(name)) for name in names]


@pytest.mark.parametrize("workers", [1, 3, 0])
def test_results_come_in_order_and_errors_do_not_stop_the_rest(workers):
    results = list(detect_files(files("1.jpg", "bad.jpg", "4.jpg", "0.jpg"), Fake(), workers=workers))
    assert [len(result.detections) for result in results] == [1, 0, 4, 0]
    assert [str(result.error or "") for result in results] == ["", "bad.jpg: broken", "", ""]


def test_what_fails_afterwards_is_the_results_error():
    def then(result):
        raise SourceError("disk full")

    (result,) = detect_files(files("2.jpg"), Fake(), then)
    assert str(result.error) == "disk full"


def test_no_more_than_twice_the_workers_are_under_way():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number * 2, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 5
    assert list(results) == list(range(2, 100, 2))


def test_stopping_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = ordered_map(lambda number: number, range(1000), workers=4)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_prefetch_keeps_order_stays_bounded_and_passes_errors_on():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number
        raise SourceError("camera gone")

    ahead = prefetch(items(), size=3)
    assert next(ahead) == 0
    time.sleep(0.05)
    assert len(taken) <= 6
    seen = []
    with pytest.raises(SourceError, match="camera gone"):
        for number in ahead:
            seen.append(number)  # noqa: PERF402
    assert seen == list(range(1, 20))


def test_closing_prefetch_stops_its_thread():
    before = threading.active_count()
    ahead = prefetch(iter(int, 1), size=2)
    next(ahead)
    ahead.close()
    assert threading.active_count() == before


def test_background_works_in_order_and_finishes():
    done = []
    with Background(done.append, size=2) as background:
        for number in range(50):
            background.put(number)
    assert done == list(range(50))


def test_a_background_error_reaches_the_one_who_puts():
    def work(number):
        if number == 3:
            raise SourceError("disk full")

    with pytest.raises(SourceError, match="disk full"), Background(work, size=1) as background:
        for number in range(10_000):
            background.put(number)
    with pytest.raises(SourceError, match="disk full"), Background(work, size=5) as background:
        background.put(3)


def test_an_error_in_the_block_is_not_hidden_by_the_background():
    with pytest.raises(KeyError), Background(lambda _: time.sleep(0.01), size=1) as background:
        background.put(1)
        raise KeyError


class Walker:
    """A detector that sees one face, moving right by 5 px a frame."""

    def __init__(self):
        self.asked = []

    def detect(self, image, /):
        self.asked.append(image.index)
        x = 5.0 * image.index
        return Detections(xyxy=np.array([[x, 10, x + 30, 50]]), score=np.array([0.9]), label=np.array([0]))


def frames(count):
    image = np.zeros((64, 640, 3), np.uint8)
    return [Frame(image, index, index / 10, "clip") for index in range(count)]


@pytest.mark.parametrize("every", [1, 3])
def test_every_frame_comes_back_with_its_people(every):
    detector = Walker()
    people = PeopleWatch("clip")
    steps = list(watch_frames(frames(30), detector, people, every=every, workers=3))
    assert [step.frame.index for step in steps] == list(range(30))
    assert sorted(detector.asked) == list(range(0, 30, every))
    assert [step.looked for step in steps] == [index % every == 0 for index in range(30)]
    for step in steps[2 * every :]:
        assert step.detections.track_id.tolist() == [1]
        assert abs(float(step.detections.xyxy[0, 0]) - 5 * step.frame.index) < 6
    kinds = [event.kind for step in steps for event in step.events] + [e.kind for e in people.close()]
    assert (kinds[0], kinds[-1]) == ("start", "end")


@pytest.mark.parametrize(
    ("rate", "every"),
    [("10", 1), ("15", 1), ("24000/1001", 2), ("25", 2), ("30000/1001", 2), ("50", 4), ("60", 5), ("1/7", 1)],
)
def test_a_video_is_looked_at_about_twelve_times_a_second(rate, every):
    assert usual_every(Fraction(rate)) == every


def test_whoever_may_be_a_face_is_to_be_hidden():
    """New faces, that no track is reported of yet; weak ones, that never get one; missed ones."""
    people = PeopleWatch("clip")
    sure, weak = [100, 10, 130, 50], [300, 10, 330, 50]
    seen = Detections(xyxy=np.array([sure, weak]), score=np.array([0.9, 0.2]), label=np.array([0, 0]))
    first, second, third = frames(3)
    tracked, _ = people.look(seen, first)
    assert len(tracked) == 0
    assert people.to_hide(first).xyxy.round().tolist() == [sure, weak, sure]
    people.look(seen, second)
    tracked, _ = people.look(Detections.empty(), third)
    assert len(tracked) == 0
    assert people.to_hide(third).xyxy.round().tolist() == [sure], "missed for a moment"


def test_impossible_steps_are_refused():
    with pytest.raises(OptionError, match="--every"):
        next(watch_frames(frames(1), Walker(), PeopleWatch("x"), every=0))

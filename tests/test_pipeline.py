import threading
import time
from pathlib import Path

import numpy as np
import pytest

from maskwatch import Detections, ImageError, SourceError
from maskwatch.frames import ImageFile
from maskwatch.pipeline import detect_files, ordered_map


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

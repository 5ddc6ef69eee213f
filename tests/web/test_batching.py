"""Pictures of many callers share runs; each gets its own answer, whatever becomes of the others."""

from __future__ import annotations

import numpy as np
import pytest

from maskwatch import ImageError
from maskwatch.codec import encode_image
from maskwatch.web.batching import Batcher, Task
from tests.conftest import jpeg
from tests.services.servers import wait_until


def picture(width, height):
    return encode_image(np.full((height, width, 3), 99, np.uint8), ".png")


def test_what_waits_is_looked_at_together_and_a_lone_picture_at_once(held):
    sizes = []
    with Batcher(held, workers=1, together=4, on_batch=lambda count, seconds: sizes.append(count)) as batcher:
        first = batcher.submit(Task(picture(32, 24)))
        later = [batcher.submit(Task(picture(40 + number, 24))) for number in range(6)]
        held.go.set()
        looks = [future.result(60) for future in (first, *later)]
    assert [look.size_wh for look in looks] == [(32, 24), *((40 + number, 24) for number in range(6))]
    assert [look.detections.xyxy[0, 2] for look in looks] == [32, *range(40, 46)]
    assert sum(held.batches) == 7
    assert sizes == held.batches


def test_small_pictures_of_one_size_share_a_run_and_large_ones_do_not(held):
    data = [picture(32, 32)] * 5 + [picture(48, 32)] * 2 + [picture(64, 64)] * 3
    with Batcher(held, workers=1, together=16, together_px=4 * 32 * 32) as batcher:
        plug = batcher.submit(Task(picture(8, 8)))
        wait_until(plug.running)
        futures = [batcher.submit(Task(one)) for one in data]
        held.go.set()
        assert [future.result(60).size_wh for future in futures] == [(32, 32)] * 5 + [(48, 32)] * 2 + [
            (64, 64)
        ] * 3
    assert sorted(held.batches[1:]) == [1, 1, 1, 1, 2, 4]


def test_work_is_shared_out_among_idle_threads(held):
    with Batcher(held, workers=2, together=12) as batcher:
        wait_until(lambda: batcher._idle == 2)
        with batcher._news:  # all at once: whoever wakes first finds everything waiting
            futures = [batcher.submit(Task(picture(32, 32))) for _ in range(12)]
        wait_until(lambda: not batcher._waiting)
        held.go.set()
        for future in futures:
            future.result(60)
    assert held.batches == [6, 6]


def test_thresholds_in_one_run_are_each_ones_own(held):
    with Batcher(held, workers=1, together=8) as batcher:
        plug = batcher.submit(Task(picture(32, 32)))
        wait_until(plug.running)
        strict, loose, own = (
            batcher.submit(Task(picture(32, 32), score_threshold=wish)) for wish in (0.95, 0.2, None)
        )
        held.go.set()
        assert [len(one.result(60).detections) for one in (plug, strict, loose, own)] == [1, 0, 2, 1]
    assert held.thresholds[-1] == 0.2


def test_a_bad_picture_spoils_nobody_elses(held):
    with Batcher(held, workers=1, together=8) as batcher:
        futures = [batcher.submit(Task(data)) for data in (picture(32, 32), b"junk", picture(48, 32))]
        held.go.set()
        assert futures[0].result(60).size_wh == (32, 32)
        with pytest.raises(ImageError, match="no picture"):
            futures[1].result(60)
        assert futures[2].result(60).size_wh == (48, 32)


def test_a_picture_that_breaks_the_run_breaks_only_its_own(held):
    inner = held.detect_letterboxed

    def fragile(prepared, *, score_threshold=None):
        if any(one.size_wh == (13, 13) for one in prepared):
            raise ImageError("13×13 picture: the network failed on it")
        return inner(prepared, score_threshold=score_threshold)

    held.detect_letterboxed = fragile
    with Batcher(held, workers=1, together=8) as batcher:
        futures = [batcher.submit(Task(picture(side, side))) for side in (32, 13, 40)]
        held.go.set()
        assert futures[2].result(60).size_wh == (40, 40)
        assert futures[0].result(60).size_wh == (32, 32)
        with pytest.raises(ImageError, match="13×13"):
            futures[1].result(60)


def test_who_gives_up_is_not_looked_at(held):
    with Batcher(held, workers=1, together=1) as batcher:
        first = batcher.submit(Task(picture(32, 32)))
        gone = batcher.submit(Task(picture(40, 40)))
        last = batcher.submit(Task(picture(48, 48)))
        assert gone.cancel()
        held.go.set()
        assert last.result(60).size_wh == (48, 48)
        assert first.result(60).size_wh == (32, 32)
    assert held.batches == [1, 1]


def test_closing_lets_waiting_callers_go(held):
    with Batcher(held, workers=1, together=1) as batcher:
        batcher.submit(Task(picture(32, 32)))
        waiting = [batcher.submit(Task(picture(32, 32))) for _ in range(3)]
        held.go.set()
    assert all(future.done() for future in waiting)
    assert not batcher.is_running
    assert batcher.submit(Task(picture(32, 32))).cancelled()


def test_real_pictures_of_one_size_answer_as_they_do_alone(one_thread, astronaut, masked):
    data = [jpeg(image) for image in (astronaut, masked, astronaut[:, ::-1])]
    with Batcher(one_thread, workers=1, together=8) as batcher:
        looks = [future.result(60) for future in [batcher.submit(Task(one)) for one in data]]
    for look, one in zip(looks, data, strict=True):
        alone = one_thread.detect(one)
        np.testing.assert_allclose(look.detections.xyxy, alone.xyxy, atol=0.5)
        assert look.detections.verdict_names == alone.verdict_names

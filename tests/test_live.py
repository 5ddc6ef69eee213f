"""The live loop with cameras made of lists, and the page with a real HTTP client."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from urllib.parse import quote, urlsplit

import av
import numpy as np
import PIL.Image
import pytest

from maskwatch import Detections, ImageError, SourceError
from maskwatch.events import Aggregate, Event, Rules
from maskwatch.pipeline import WatchOptions, watch_cameras
from maskwatch.pipeline.live import Newest
from maskwatch.sources.camera import CameraState, Shot
from maskwatch.web.live_page import LivePage
from tests.clips import number_of, numbered
from tests.services.servers import wait_until

NOISE = np.random.default_rng(0).integers(0, 256, (60, 192, 3), np.uint8)


def pictured(number):
    """A numbered frame with something sharp where the face is said to be."""
    image = numbered(number)
    image[30:90] = NOISE
    return image


class Script:
    """A camera that plays a list of shots, states and pauses (numbers, in seconds)."""

    def __init__(self, name, items):
        self.name, self.items = name, items
        self.started_wall, self.started = time.time(), time.monotonic()
        self.stopped = False

    @property
    def now_s(self):
        return time.monotonic() - self.started

    def stop(self):
        self.stopped = True

    def __iter__(self):
        for index, item in enumerate(self.items):
            if self.stopped:
                return
            if isinstance(item, float):
                time.sleep(item)
            elif isinstance(item, str):
                yield CameraState(item, self.now_s, reason="cable" if item == "lost" else "")
            else:
                frame = av.VideoFrame.from_ndarray(pictured(item), format="rgb24")
                yield Shot(frame, index, self.now_s, self.name)


class Bare:
    """A detector that sees one bare face in every picture, after a moment."""

    def __init__(self, delay_s=0.0):
        self.delay_s, self.seen = delay_s, []

    def detect(self, frame, /):
        number = number_of(frame.image)
        self.seen.append((frame.source_id, number))
        if number == 13:
            raise ImageError("number 13: broken")
        time.sleep(self.delay_s)
        return Detections(
            xyxy=np.array([[20, 20, 80, 90]]),
            score=np.array([0.9]),
            label=np.array([1]),
            label_scores=[[0.05, 0.9, 0.02]],
        )


def paced(count, pause_s=0.02, first=0):
    return [part for number in range(first, first + count) for part in (number, pause_s)]


def watch(cameras, detector, options=None, **more):
    steps = []
    statuses = watch_cameras(cameras, detector, steps.append, options=options, **more)
    return steps, statuses


def test_the_newest_picture_wins_and_drops_are_counted():
    camera = Script("door", ["connecting", "live", *paced(60, 0.01, first=20), "ended"])
    detector = Bare(delay_s=0.05)
    _, (status,) = watch([camera], detector)
    numbers = [number for _, number in detector.seen]
    assert numbers == sorted(numbers)
    assert status.looked + status.failed == len(numbers)
    assert len(numbers) < 30
    assert status.looked + status.failed + status.dropped == 60
    assert 0 < status.latency_p50_s <= status.latency_p95_s < 0.5


def test_each_camera_gets_its_turn():
    quick = Script("quick", ["live", *paced(100, 0.005), "ended"])
    slow = Script("slow", ["live", *paced(10, 0.05), "ended"])
    detector = Bare(delay_s=0.02)
    watch([quick, slow], detector)
    looked = [name for name, _ in detector.seen]
    assert looked.count("slow") >= 8
    assert looked.count("quick") >= 8


def test_a_lost_camera_is_lost_and_not_empty():
    items = [
        "connecting",
        "live",
        *paced(10),
        "lost",
        0.3,
        "lost",
        0.1,
        "live",
        *paced(10, first=20),
        "ended",
    ]
    steps, (status,) = watch([Script("door", items)], Bare())
    events = [event for step in steps for event in step.events if isinstance(event, Event)]
    kinds = [event.kind for event in events]
    # who is still there after a short loss is still known
    assert kinds == ["start", "update", "end", "lost", "back", "start", "end"]
    assert {event.track_id for event in events if event.track_id} == {1}
    assert events[3].message == "door is lost: cable"
    assert events[4].duration_s == pytest.approx(0.4, abs=0.2)
    assert (status.losses, status.state) == (1, "ended")
    lost = next(step.status for step in steps if step.status.state == "lost")
    assert lost.words() == "door: LOST (cable; try 0)"
    assert lost.fps == 0


def test_a_damaged_picture_is_passed_over():
    detector = Bare()
    steps, (status,) = watch([Script("door", ["live", *paced(5, first=11), "ended"])], detector)
    assert [number for _, number in detector.seen] == [11, 12, 13, 14, 15]
    assert (status.looked, status.failed) == (4, 1)
    assert sum(step.frame is not None for step in steps) == 4


def test_a_camera_that_breaks_ends_with_a_reason():
    class Broken(Script):
        def __iter__(self):
            yield CameraState("live", 0.0)
            raise RuntimeError("driver")

    steps, _ = watch([Broken("door", [])], Bare())
    assert steps[-1].status.state == "ended"
    assert "driver" in steps[-1].status.reason


def test_time_and_stop_end_the_watch():
    endless = Script("door", ["live", *paced(2000, 0.01)])
    started = time.monotonic()
    watch([endless], Bare(), duration_s=0.5)
    assert time.monotonic() - started < 2
    assert endless.stopped
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    watch([Script("door", ["live", *paced(2000, 0.01)])], Bare(), stop=stop)
    assert time.monotonic() - started < 2


def test_a_state_is_never_dropped_and_old_shots_do_not_outlive_a_loss():
    wake = threading.Event()
    shots = [1, 2, "lost", "live", 3, "lost"]
    with Newest(Script("door", shots), wake) as newest:
        wait_until(lambda: not newest._thread.is_alive())
        taken = []
        while (item := newest.take()) is not None:
            taken.append(item.state if isinstance(item, CameraState) else "shot")
    assert taken == ["lost", "live", "lost"]
    assert newest.received == 3


def test_alerts_and_sums_come_with_the_pictures():
    options = WatchOptions(rules=Rules(without_mask_s=0.5), aggregate_every_s=0.5)
    steps, (status,) = watch([Script("door", ["live", *paced(80), "ended"])], Bare(), options)
    events = [event for step in steps for event in step.events]
    alerts = [event for event in events if isinstance(event, Event) and event.kind == "alert"]
    assert [alert.rule for alert in alerts] == ["without_mask"]
    assert status.alerts == 1
    sums = [event for event in events if isinstance(event, Aggregate)]
    assert len(sums) >= 3
    assert sum(one.people for one in sums) == 1
    assert sum(one.verdict_s[1] for one in sums) > 0.8
    assert sum(one.duration_s for one in sums) == pytest.approx(1.6, abs=0.5)


def test_aggregate_only_tells_nothing_of_a_person():
    rules = Rules(without_mask_s=0.2, compliance_below=0.9, compliance_window_s=0.8, more_than=0)
    options = WatchOptions(rules=rules, aggregate_every_s=0.4, aggregate_only=True)
    steps, _ = watch([Script("door", ["live", *paced(80), "lost", "live", 1, "ended"])], Bare(), options)
    events = [event for step in steps for event in step.events]
    assert {event.kind for event in events} == {"aggregate", "alert", "lost", "back"}
    assert all(event.track_id is None for event in events if isinstance(event, Event))
    assert {event.rule for event in events if event.kind == "alert"} == {"compliance", "count"}


def get(page, path, host=None):
    parts = urlsplit(page.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request("GET", quote(path), headers={"Host": host or parts.netloc})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def jpegs(page, count):
    """The first pictures of the first camera's stream."""
    parts = urlsplit(page.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request("GET", "/v1/cameras/0/pictures")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=picture"
    found = []
    while len(found) < count:
        line = answer.readline()
        if line.startswith(b"Content-Length:"):
            answer.readline()
            found.append(answer.read(int(line.split(b":")[1])))
    connection.close()
    return found


def test_the_page_shows_pictures_numbers_and_alerts():
    options = WatchOptions(rules=Rules(without_mask_s=0.3))
    camera = Script("door", ["connecting", "live", *paced(80), "lost", 0.1])
    with LivePage(port=0) as page:
        thread = threading.Thread(
            target=watch_cameras, args=([camera], Bare(), page.show), kwargs={"options": options}
        )
        thread.start()
        wait_until(lambda: json.loads(get(page, "/v1/cameras")[1])["cameras"])
        (first, second) = jpegs(page, 2)
        picture = PIL.Image.open(io.BytesIO(first))
        assert picture.size == (192, 108)
        assert first != second
        thread.join()
        state = json.loads(get(page, "/v1/cameras")[1])
        (shown,) = state["cameras"]
        assert (shown["name"], shown["state"], shown["reason"]) == ("door", "lost", "cable")
        assert shown["in_view"]["faces"] == 0
        assert [alert["kind"] for alert in state["alerts"]] == ["alert", "lost"]
        history = json.loads(get(page, "/v1/cameras/history")[1])
        assert history["door"][0][1:] == [None, 0]
        answer, body = get(page, "/")
        assert answer.status == 200
        assert b"maskwatch" in body
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for path in ("/app/dashboard.js", "/app/style.css", "/app/icon.svg"):
            assert get(page, path)[0].status == 200


def test_news_stream_the_state():
    with LivePage(port=0) as page:
        watch_cameras([Script("door", ["live", *paced(5), "ended"])], Bare(), page.show)
        parts = urlsplit(page.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        connection.request("GET", "/v1/cameras/news")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        line = answer.readline()
        assert line.startswith(b"data: ")
        assert json.loads(line[6:])["cameras"][0]["state"] == "ended"
        connection.close()


def test_many_viewers_cost_one_encoding():
    with LivePage(port=0) as page:
        watch_cameras([Script("door", ["live", 1])], Bare(), page.show)
        picture = page.board.picture(0)
        picture.put(lambda: numbered(1))
        seen = {jpegs(page, 1)[0] for _ in range(5)}
    assert len(seen) == 1
    assert picture.encodings == 1


def test_no_pictures_where_only_numbers_are_wanted():
    with LivePage(port=0, pictures=False) as page:
        watch_cameras([Script("door", ["live", 1, 0.1])], Bare(), page.show)
        for path in ("/v1/cameras/0/pictures", "/v1/cameras/0/picture"):
            assert get(page, path)[0].status == 403
        state = json.loads(get(page, "/v1/cameras")[1])
        assert state["pictures"] is False
        assert "faces" not in state["cameras"][0]
        assert page.board.picture(0).jpeg() is None


CAMERAS = ("7/pictures", "x/pictures", "-1/pictures", "²/picture", "0/picture", "0/other", "0")


@pytest.mark.parametrize(
    "path", [*(f"/v1/cameras/{one}" for one in CAMERAS), "/../secret", "/nothing", "/app/../live_page.py"]
)
def test_what_is_not_there_is_404(path):
    with LivePage(port=0) as page:
        assert get(page, path)[0].status == 404


def test_other_sites_cannot_reach_in():
    """A name that an attacker points at 127.0.0.1 is refused (DNS rebinding)."""
    with LivePage(port=0) as page:
        assert get(page, "/v1/cameras", host="evil.example:80")[0].status == 421
        assert get(page, "/v1/cameras", host="localhost:80")[0].status == 200


def test_a_taken_port_is_named():
    with LivePage(port=0) as page:
        port = urlsplit(page.url).port
        with pytest.raises(SourceError, match=f"127.0.0.1:{port}"):
            LivePage(port=port)

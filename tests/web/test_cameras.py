"""Cameras on the server: states, pictures and news for many viewers, and those of another maskwatch."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time

import PIL.Image
import pytest

from maskwatch import OptionError
from maskwatch.events import Rules
from maskwatch.pipeline import WatchOptions, watch_cameras
from maskwatch.web.board import Board
from maskwatch.web.live_page import LivePage
from maskwatch.web.relay import RelayedFeed
from maskwatch.web.serving import ServeOptions, serving, watching
from maskwatch.web.streams import BoardFeed
from tests.clips import numbered
from tests.services.servers import free_port, wait_until
from tests.test_live import Bare, Script, paced
from tests.web.conftest import asked
from tests.web.test_detect import problem


@contextlib.contextmanager
def shown(held, feed):
    with serving(held, held, ServeOptions(port=0), cameras=feed) as running, asked(running) as http:
        yield http


def parts(http, path, count):
    """The first JPEGs of a stream."""
    found, waiting = [], b""
    with http.stream("GET", path) as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
        for chunk in answer.iter_bytes():
            waiting += chunk
            while b"\r\n\r\n" in waiting:
                head, _, rest = waiting.partition(b"\r\n\r\n")
                size = int(head.rpartition(b"Content-Length: ")[2])
                if len(rest) < size:
                    break
                found.append(rest[:size])
                waiting = rest[size:]
            if len(found) >= count:
                return found[:count]
    raise AssertionError("the stream ended")


def first_news(http, count=1):
    found = []
    with http.stream("GET", "/v1/cameras/news") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


def test_states_pictures_and_figures(held):
    board = Board()
    camera = Script("door", ["connecting", "live", *paced(400, 0.02), "lost", 30.0])
    options = WatchOptions(rules=Rules(without_mask_s=0.2))
    with shown(held, BoardFeed(board)) as http, watching([camera], Bare(), options, board.show):
        wait_until(lambda: json.loads(http.get("/v1/cameras").content)["alerts"])
        before, after = first_news(http, 2)
        assert after["cameras"][0]["looked"] > before["cameras"][0]["looked"]
        (one,) = after["cameras"]
        assert (one["name"], one["state"], one["in_view"]["faces"]) == ("door", "live", 1)
        assert one["faces"][0]["verdict"] == "without_mask"
        assert abs(one["since"] - time.time()) < 120
        first, second = parts(http, "/v1/cameras/0/pictures", 2)
        assert first != second
        assert PIL.Image.open(io.BytesIO(http.get("/v1/cameras/0/picture").content)).size == (192, 108)
        figures = http.get("/metrics").text
        assert 'maskwatch_camera_up{camera="door"} 1.0' in figures
        assert 'maskwatch_camera_people{camera="door",verdict="without_mask"} 1.0' in figures
        assert 'maskwatch_camera_alerts_total{camera="door"} 1.0' in figures
        wait_until(lambda: http.get("/v1/cameras").json()["cameras"][0]["state"] == "lost", timeout_s=60)
        gone = http.get("/v1/cameras").json()["cameras"][0]
        assert gone["reason"] == "cable"
        assert gone["since"] > one["since"]
        figures = http.get("/metrics").text
        assert 'maskwatch_camera_up{camera="door"} 0.0' in figures
        assert "maskwatch_camera_people{" not in figures, "a lost camera does not see nobody"
        assert http.get("/v1/cameras/history").json()["door"][0][2] in (0, 1)
        assert "no camera 7" in problem(http.get("/v1/cameras/7/picture"), 404)
        assert problem(http.get("/v1/cameras/x/pictures"), 400)


def test_many_viewers_cost_one_encoding(held):
    board = Board()
    watch_cameras([Script("door", ["live", 1])], Bare(), board.show)
    picture = board.picture(0)
    drawn = []

    def draw():
        drawn.append(threading.current_thread().name)
        return numbered(7)

    seen = []
    with shown(held, BoardFeed(board)) as http:
        picture.put(draw)

        def view():
            seen.extend(parts(http, "/v1/cameras/0/pictures", 1))

        viewers = [threading.Thread(target=view) for _ in range(60)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join(60)
    assert len(seen) == 60
    assert len(set(seen)) == 1
    assert len(drawn) == 1


def test_nobody_looks_and_nothing_is_encoded(held):
    board = Board()
    with shown(held, BoardFeed(board)) as http:
        watch_cameras([Script("door", ["live", *paced(20)])], Bare(), board.show)
        assert first_news(http)
        assert board.picture(0).encodings == 0


def test_aggregates_alone_show_no_pictures_and_no_faces(held):
    board = Board(pictures=False)
    with shown(held, BoardFeed(board)) as http:
        watch_cameras([Script("door", ["live", *paced(10)])], Bare(), board.show)
        state = http.get("/v1/cameras").json()
        assert state["pictures"] is False
        assert "faces" not in state["cameras"][0]
        for path in ("picture", "pictures"):
            assert "numbers only" in problem(http.get(f"/v1/cameras/0/{path}"), 403)
        assert board.picture(0).jpeg() is None


def test_without_cameras_and_events(http):
    for path in ("/v1/cameras", "/v1/cameras/history", "/v1/cameras/news", "/v1/cameras/0/picture"):
        assert "--source or --live" in problem(http.get(path), 404)
    for path in ("/v1/events", "/v1/events.csv", "/v1/compliance"):
        assert "no events" in problem(http.get(path), 404)


def test_streams_end_with_the_server(held):
    """Leaving the block does not wait for viewers that would stay for ever."""
    board = Board()
    watch_cameras([Script("door", ["live", 1])], Bare(), board.show)
    board.picture(0).put(lambda: numbered(1))
    ended = threading.Event()
    opened = threading.Event()

    def view(server):
        with asked(server) as http, http.stream("GET", "/v1/cameras/0/pictures") as answer:
            for _ in answer.iter_bytes():
                opened.set()
        ended.set()

    with serving(held, held, ServeOptions(port=0), cameras=BoardFeed(board)) as server:
        viewer = threading.Thread(target=view, args=(server,))
        viewer.start()
        assert opened.wait(60)
    assert ended.wait(60)
    viewer.join()


def test_the_cameras_of_a_running_live(held):
    with LivePage(port=0) as live:
        stop = threading.Event()
        camera = Script("door", ["live", *paced(4000, 0.02)])
        thread = threading.Thread(
            target=watch_cameras, args=([camera], Bare(), live.show), kwargs={"stop": stop}
        )
        thread.start()
        try:
            with shown(held, RelayedFeed(live.url)) as http:
                wait_until(lambda: http.get("/v1/cameras").json()["cameras"])
                state, later = first_news(http, 2)
                assert later["cameras"][0]["looked"] > state["cameras"][0]["looked"]
                first, second = parts(http, "/v1/cameras/0/pictures", 2)
                assert PIL.Image.open(io.BytesIO(first)).size == (192, 108)
                assert first != second
                assert http.get("/v1/cameras/0/picture").content.startswith(b"\xff\xd8")
                assert http.get("/v1/cameras/history").json()["door"]
                assert problem(http.get("/v1/cameras/9/picture"), 404)
                assert problem(http.get("/v1/cameras/9/pictures"), 404)
        finally:
            stop.set()
            thread.join()


def test_a_live_that_is_not_there(held):
    with shown(held, RelayedFeed(f"http://user:secret@127.0.0.1:{free_port()}/")) as http:
        words = problem(http.get("/v1/cameras"), 502)
        assert "is `maskwatch live` running?" in words
        assert "secret" not in words


@pytest.mark.parametrize("address", ["127.0.0.1:8350", "ftp://127.0.0.1", "file:///etc/passwd"])
def test_addresses_that_are_no_live(address):
    with pytest.raises(OptionError, match="no address of a running maskwatch"):
        RelayedFeed(address)

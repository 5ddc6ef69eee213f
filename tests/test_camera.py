"""Cameras that come, stall, die and come back; the RTSP tests use a real server on loopback."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from fractions import Fraction

import pytest

from maskwatch import OptionError
from maskwatch.addresses import redact
from maskwatch.sources.camera import Camera, CameraOptions, CameraState, Shot
from tests.clips import make_clip, number_of, numbered
from tests.services.servers import RATE, RtspCamera, free_port

QUICK = CameraOptions(open_timeout_s=3, read_timeout_s=2, first_pause_s=0.2, longest_pause_s=1)


class Viewer:
    """Follows a camera in a thread, and remembers what it saw and when."""

    def __init__(self, camera):
        self.camera = camera
        self.states: list[CameraState] = []
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def follow(self):
        for item in self.camera:
            if isinstance(item, CameraState):
                self.states.append(item)
            else:
                self.numbers.append(number_of(item.to_frame().image))
                self.times.append(time.monotonic())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.camera.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()

    def wait_for(self, state, timeout_s=15.0):
        deadline = time.monotonic() + timeout_s
        while not (self.states and self.states[-1].state == state):
            assert time.monotonic() < deadline, f"never {state}: {self.states}"
            time.sleep(0.02)
        return time.monotonic()

    def see_more(self, count, timeout_s=15.0):
        wanted, deadline = len(self.numbers) + count, time.monotonic() + timeout_s
        while len(self.numbers) < wanted:
            assert time.monotonic() < deadline, f"{len(self.numbers)} pictures of {wanted}: {self.states}"
            time.sleep(0.02)


@pytest.fixture
def server():
    with RtspCamera() as running:
        yield running


def test_a_camera_that_is_killed_comes_back_and_nothing_else_is_lost(server):
    with Viewer(Camera(server.url, QUICK)) as viewer:
        viewer.see_more(15)
        server.kill()
        killed = time.monotonic()
        assert viewer.wait_for("lost") - killed < 5
        time.sleep(1.5)
        server.start()
        viewer.wait_for("live")
        viewer.see_more(15)
        gap_s = viewer.times[-15] - killed
    assert viewer.numbers == sorted(set(viewer.numbers))
    expected = viewer.numbers[-1] - viewer.numbers[0] + 1
    lost = expected - len(viewer.numbers)
    assert lost <= (gap_s + 0.5) * RATE + 2
    back = [state for state in viewer.states if state.state == "live"][1]
    assert back.gap_s == pytest.approx(gap_s, abs=1.5)
    assert all("secret" not in state.reason for state in viewer.states)


def test_a_stalled_camera_is_noticed_within_five_seconds(server):
    with Viewer(Camera(server.url, QUICK)) as viewer:
        viewer.see_more(10)
        server.stall()
        stalled = time.monotonic()
        assert viewer.wait_for("lost") - stalled < 5
        assert "no picture for 2 s" in viewer.states[-1].reason
        server.wake()
        viewer.wait_for("live")
        viewer.see_more(5)


def test_waiting_grows_while_a_camera_stays_away():
    options = CameraOptions(open_timeout_s=1, read_timeout_s=1, first_pause_s=0.1, longest_pause_s=0.4)
    with Viewer(Camera(f"rtsp://127.0.0.1:{free_port()}/none", options)) as viewer:
        time.sleep(2)
    lost = [state for state in viewer.states if state.state == "lost"]
    assert [state.attempt for state in lost] == list(range(1, len(lost) + 1))
    pauses = [after.at_s - before.at_s for before, after in itertools.pairwise(lost)]
    assert pauses[0] < 0.25
    assert max(pauses) == pytest.approx(0.4, abs=0.2)
    assert "refused" in lost[0].reason.lower()


def test_garbage_is_a_lost_camera_and_no_crash():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"RTSP/1.0 200 OK\r\n\x00\xff" + bytes(range(256)) * 50)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        for uri in (f"rtsp://127.0.0.1:{port}/x", f"http://127.0.0.1:{port}/x.mjpg"):
            with Viewer(Camera(uri, QUICK)) as viewer:
                viewer.wait_for("lost")
            assert not viewer.numbers
        listener.shutdown(socket.SHUT_RDWR)


def test_motion_jpeg_over_http(tmp_path):
    """A camera as cheap ones are: multipart JPEGs without an end."""
    from maskwatch.codec import encode_image

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(2000)
                head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n"
                connection.sendall(head)
                for number in range(400):
                    jpeg = encode_image(numbered(number), ".jpg")
                    part = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                    try:
                        connection.sendall(part + jpeg + b"\r\n")
                    except OSError:
                        return
                    time.sleep(0.05)

        threading.Thread(target=serve, daemon=True).start()
        with Viewer(Camera(f"http://127.0.0.1:{listener.getsockname()[1]}/video.mjpg", QUICK)) as viewer:
            viewer.see_more(10)
        assert viewer.numbers == list(range(viewer.numbers[0], viewer.numbers[0] + len(viewer.numbers)))


def test_a_file_plays_at_its_own_pace_and_ends(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(20)], rate=Fraction(20))
    items = list(Camera(str(clip)))
    states = [item.state for item in items if isinstance(item, CameraState)]
    shots = [item for item in items if isinstance(item, Shot)]
    assert states == ["connecting", "live", "ended"]
    assert [number_of(shot.to_frame().image) for shot in shots] == list(range(20))
    assert shots[-1].captured_s - shots[0].captured_s == pytest.approx(19 / 20, abs=0.3)


def test_a_file_may_start_over(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(5)], rate=Fraction(25))
    with Viewer(Camera(str(clip), CameraOptions(loop=True))) as viewer:
        viewer.see_more(13)
    assert viewer.numbers[:13] == [0, 1, 2, 3, 4] * 2 + [0, 1, 2]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:pa%20ss@10.0.0.9:554/ch1", "rtsp://10.0.0.9:554/ch1"),
        ("http://cam/v.cgi?user=a&pwd=b&res=4", "http://cam/v.cgi?user=***&pwd=***&res=4"),
        ("0", "0"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_secrets_are_never_shown(uri, shown):
    assert redact(uri) == shown
    assert Camera(uri).name == shown


def test_what_is_no_camera_is_named():
    with pytest.raises(OptionError, match=r"nonsense\.mp4: no camera"):
        Camera("nonsense.mp4")
    with pytest.raises(OptionError) as caught:
        Camera("gopher://me:secret@host/x")
    assert "secret" not in str(caught.value)
    with pytest.raises(OptionError, match="above 0"):
        CameraOptions(read_timeout_s=0)

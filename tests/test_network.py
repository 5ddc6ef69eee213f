"""Bad lines to real receivers and cameras: late, thin, silent, cut in mid-message; nothing is lost."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import socket
import threading
import time

import pytest

from maskwatch.pipeline import Delivery, watch_cameras
from maskwatch.sinks.database import Database
from maskwatch.sinks.mqtt import Mqtt
from maskwatch.sinks.spool import Spool
from maskwatch.sinks.webhook import Webhook
from maskwatch.sources.camera import Camera, CameraOptions
from tests.services.line import Line
from tests.services.servers import Broker, Postgres, RtspCamera, wait_until
from tests.test_delivery import event

MESSAGE = random.Random(1).randbytes(100_000)


@pytest.fixture
def echo():
    """A server that says what it hears: its port, and what it heard of each caller."""
    server = socket.create_server(("127.0.0.1", 0))
    everything = []

    def serve():
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            heard = bytearray()
            everything.append(heard)
            try:
                while data := link.recv(4096):
                    heard += data
                    link.sendall(data)
            except OSError:
                pass
            link.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], everything
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def said_back(line, message):
    """What comes back of a message before the connection ends, and how long it took."""
    began = time.monotonic()
    got = b""

    def send():
        with contextlib.suppress(OSError):
            link.sendall(message)

    sender = threading.Thread(target=send)
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection(("127.0.0.1", line.port), timeout=20) as link,
    ):
        sender.start()
        try:
            while len(got) < len(message) and (data := link.recv(65536)):
                got += data
        finally:
            sender.join()
    return got, time.monotonic() - began


def test_a_line_hurts_as_it_is_told(echo):
    port, heard = echo
    with Line(port) as line:
        assert said_back(line, MESSAGE)[0] == MESSAGE
        with line.being(delay_s=0.3):
            got, took_s = said_back(line, b"late")
            assert got == b"late"
            assert took_s >= 0.6
        with line.being(bytes_per_s=20_000):
            got, took_s = said_back(line, MESSAGE[:10_000])
            assert got == MESSAGE[:10_000]
            assert took_s >= 0.5
        line.is_silent = True
        threading.Timer(0.5, setattr, (line, "is_silent", False)).start()
        got, took_s = said_back(line, MESSAGE)
        assert got == MESSAGE
        assert took_s >= 0.4
        assert line.cut == 0
        with line.being(cut_after=1000):
            assert said_back(line, MESSAGE[:3000])[0] != MESSAGE[:3000]
        wait_until(lambda: len(heard[-1]) == 1000)
        with line.being(is_closed=True):
            assert said_back(line, b"nobody is there")[0] == b""
        assert line.cut == 2


def hurt(line, delivery, count):
    """Write events while the line fails in all ways; then wait until all have arrived."""
    ways = [{"cut_after": size} for size in (50, 400, 3000)]
    ways += [{"is_silent": True}, {"is_closed": True}, {"delay_s": 0.2}, {"bytes_per_s": 2000.0}]
    for number in range(count):
        if number % (count // len(ways)) == 0 and ways:
            with line.being(**ways.pop()):
                delivery.write(event(number))
                time.sleep(0.4)
                line.reset()
        else:
            delivery.write(event(number))
            time.sleep(0.01)
    wait_until(lambda: delivery.waiting == 0, 40)
    assert line.cut >= 2
    assert (delivery.delivered, delivery.rejected, delivery.spool.dropped) == (count, 0, 0)


def test_a_webhook_behind_a_bad_line_gets_all(hook, tmp_path):
    with Line(hook.server_port) as line:
        receiver = Webhook(f"http://127.0.0.1:{line.port}/200", timeout_s=1.0)
        with Delivery(receiver, Spool(tmp_path / "spool.db")) as delivery:
            hurt(line, delivery, 70)
    got = [one for _, body in hook.got for one in json.loads(body)["events"]]
    first_times = list(dict.fromkeys(one["event_id"] for one in got))
    assert len(first_times) == 70
    assert sorted({one["track_id"] for one in got}) == list(range(70))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_database_behind_a_bad_line_has_each_event_once(tmp_path):
    import sqlalchemy

    with Postgres() as server, Line(server.port) as line:
        receiver = Database(server.url.replace(str(server.port), str(line.port)))
        with Delivery(receiver, Spool(tmp_path / "spool.db")) as delivery:
            hurt(line, delivery, 70)
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+pg8000:"))
        with engine.connect() as connection:
            query = sqlalchemy.text("SELECT track_id FROM maskwatch_events ORDER BY track_id")
            rows = [row[0] for row in connection.execute(query)]
        engine.dispose()
    assert rows == list(range(70))
    del receiver, delivery
    gc.collect()  # pg8000 leaves sockets of broken connections to the garbage collector


def test_a_broker_behind_a_bad_line_gets_all(tmp_path):
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    numbers = []
    with Broker() as broker, Line(broker.port) as line:
        listener = paho.Client(CallbackAPIVersion.VERSION2)
        listener.on_message = lambda _c, _u, message: numbers.append(json.loads(message.payload)["track_id"])
        listener.connect("127.0.0.1", broker.port)
        listener.subscribe("site/events", qos=1)
        listener.loop_start()
        receiver = Mqtt(broker.url.replace(str(broker.port), str(line.port)))
        wait_until(receiver._client.is_connected)
        with Delivery(receiver, Spool(tmp_path / "spool.db")) as delivery:
            hurt(line, delivery, 70)
        wait_until(lambda: set(numbers) == set(range(70)))
        listener.disconnect()
        listener.loop_stop()


def test_a_camera_behind_a_bad_line_comes_back():
    class Blind:
        """Finds nobody."""

        def detect(self, image):
            from maskwatch import Detections

            return Detections.empty()

    states = []
    stop = threading.Event()
    with RtspCamera() as server, Line(server.port) as line:
        options = CameraOptions(open_timeout_s=2, read_timeout_s=1, first_pause_s=0.2, longest_pause_s=0.5)
        camera = Camera(server.url.replace(str(server.port), str(line.port)), options)
        watcher = threading.Thread(
            target=watch_cameras,
            args=([camera], Blind(), lambda step: states.append(step.status.state)),
            kwargs={"stop": stop},
        )
        watcher.start()
        for way in ({"is_silent": True}, {"cut_after": 5000}, {"is_closed": True}):
            wait_until(lambda: states[-20:].count("live") == 20, 30)
            with line.being(**way):
                if "is_silent" not in way:
                    line.reset()
                wait_until(lambda: "lost" in states[-20:], 30)
        wait_until(lambda: states[-20:].count("live") == 20, 30)
        stop.set()
        watcher.join(20)
    assert not watcher.is_alive()

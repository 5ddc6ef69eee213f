"""Every kind of receiver, against the real thing: files, SQLite, PostgreSQL, mosquitto, HTTP."""

from __future__ import annotations

import csv
import json
import sqlite3
import threading
import time

import pytest

from maskwatch import MaskwatchError, OptionError, RejectedError, SourceError
from maskwatch.events import Aggregate, Event
from maskwatch.pipeline import Delivery
from maskwatch.sinks.database import Database
from maskwatch.sinks.mqtt import Mqtt
from maskwatch.sinks.notify import Notifier
from maskwatch.sinks.receivers import EventFile, open_receiver
from maskwatch.sinks.spool import Spool, SpooledEvent
from maskwatch.sinks.webhook import Webhook, sign
from tests.services.servers import Broker, Postgres, free_port, wait_until


def happening(number):
    if number % 10 == 9:
        return Aggregate("door", float(number), 1000.0 + number, 10.0, 3, 2, (5.0, 1.0, 0.0, 1.0))
    box = None if number % 2 else (1.0, 2.0, 3.5, 4.0)
    return Event("alert", "door", float(number), 1000.0 + number, number, "without_mask", best_xyxy=box)


def spooled(*numbers):
    return [SpooledEvent(n, f"id{n}", json.loads(json.dumps(happening(n).to_dict()))) for n in numbers]


def test_files_are_appended_to(tmp_path):
    for name in ("events.jsonl", "events.csv"):
        for numbers in ((0, 1), (2, 9)):
            receiver = open_receiver(str(tmp_path / name))
            assert isinstance(receiver, EventFile)
            receiver.send(spooled(*numbers))
            receiver.close()
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [row["at_s"] for row in rows] == [0, 1, 2, 9]
    assert rows[3]["compliance"] == pytest.approx(5 / 6, abs=1e-4)
    with (tmp_path / "events.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["track_id"] for row in table] == ["0", "1", "2", ""]
    assert table[3]["with_mask_s"] == "5.0"


def test_sqlite_stores_once_and_forgets_in_time(tmp_path):
    path = tmp_path / "events.db"
    receiver = open_receiver(str(path))
    receiver.send(spooled(0, 1, 9))
    receiver.send(spooled(1, 2))
    receiver.close()
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT track_id, best_x2 FROM maskwatch_events ORDER BY at_s").fetchall()
        assert rows == [(0, 3.5), (1, None), (2, 3.5)]
        assert database.execute("SELECT people, with_mask_s FROM maskwatch_aggregates").fetchall() == [
            (3, 5.0)
        ]
        database.execute("UPDATE maskwatch_events SET stored_at = stored_at - 86400 * 8 WHERE track_id < 2")
    receiver = Database(f"sqlite:///{path}", keep_days=7)
    receiver.send(spooled(3))
    receiver.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT track_id FROM maskwatch_events").fetchall() == [(2,), (3,)]
        database.execute("UPDATE maskwatch_schema SET version = 99")
    with pytest.raises(SourceError, match="another maskwatch version"):
        Database(f"sqlite:///{path}").send(spooled(4))


def test_a_database_that_is_no_place_is_named(tmp_path):
    receiver = open_receiver(str(tmp_path / "gone" / "events.db"))
    with pytest.raises(SourceError, match="cannot be stored"):
        receiver.send(spooled(0))
    receiver = open_receiver(f"postgresql://me:secret@127.0.0.1:{free_port()}/x")
    with pytest.raises(SourceError, match="cannot be stored") as caught:
        receiver.send(spooled(0))
    assert "secret" not in str(caught.value)
    with pytest.raises(OptionError, match="more than 0 days"):
        Database("sqlite:///x.db", keep_days=0)


def test_postgresql_killed_in_the_middle_loses_nothing(tmp_path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    count = 300
    with Postgres() as server:
        wait_until(lambda: _sends(Database(server.url), spooled()))
        with Delivery(open_receiver(server.url), Spool(tmp_path / "spool.db"), patience_s=20) as delivery:
            for number in range(count):
                delivery.write(happening(number))
                if number == 100:
                    wait_until(lambda: delivery.delivered > 0)
                    server.kill()
                if number == 200:
                    wait_until(lambda: delivery.failures > 0)
                    server.start()
        assert delivery.delivered == count
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+pg8000:"))
        with engine.connect() as connection:
            stored = connection.execute(
                sqlalchemy.text(
                    "SELECT at_s FROM maskwatch_events UNION ALL SELECT at_s FROM maskwatch_aggregates "
                    "ORDER BY at_s"
                )
            ).fetchall()
        engine.dispose()
    assert [row[0] for row in stored] == list(range(count))


def _sends(receiver, events):
    try:
        receiver.send(events)
    except MaskwatchError:
        return False
    finally:
        receiver.close()
    return True


class Listener:
    """Another client of the broker, that subscribes again after every connection."""

    def __init__(self, port, topic):
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages = []
        self.subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = lambda client, _, message: self.messages.append(message)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()
        wait_until(self.subscribed.is_set)

    def last(self, topic):
        found = [message.payload.decode() for message in self.messages if message.topic == topic]
        return found[-1] if found else None

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


COUNTS = {"people": 3, "with_mask": 2, "without_mask": 1, "mask_worn_incorrectly": 0, "uncertain": 0}


def test_a_broker_hears_events_counts_and_that_we_are_there():
    with Broker() as broker:
        listener = Listener(broker.port, "#")
        receiver = open_receiver(broker.url)
        assert isinstance(receiver, Mqtt)
        wait_until(lambda: listener.last("site/available") == "online")
        receiver.send(spooled(0, 9))
        receiver.show("rtsp://cam/1", "live", COUNTS, 2 / 3)
        wait_until(lambda: listener.last("site/rtsp_cam_1/compliance") == "66.7")
        receiver.show("rtsp://cam/1", "lost", dict.fromkeys(COUNTS, 0), None)
        wait_until(lambda: listener.last("site/rtsp_cam_1/state") == "lost")
        # lost is not "nobody there": the counts stay as they were last seen
        assert listener.last("site/rtsp_cam_1/people") == "3"
        found = [json.loads(m.payload) for m in listener.messages if m.topic == "site/events"]
        assert [(one["event_id"], one["kind"]) for one in found] == [("id0", "alert"), ("id9", "aggregate")]
        config = json.loads(listener.last("homeassistant/sensor/site_rtsp_cam_1/compliance/config"))
        assert config["state_topic"] == "site/rtsp_cam_1/compliance"
        assert config["unit_of_measurement"] == "%"
        assert config["availability_topic"] == "site/available"
        late = Listener(broker.port, "site/#")
        wait_until(lambda: late.last("site/rtsp_cam_1/without_mask") == "1")  # retained
        receiver.close()
        wait_until(lambda: listener.last("site/available") == "offline")
        late.close()
        listener.close()


def test_a_client_that_dies_is_said_to_be_offline():
    with Broker() as broker:
        listener = Listener(broker.port, "site/available")
        receiver = Mqtt(broker.url)
        wait_until(lambda: listener.last("site/available") == "online")
        receiver._client.socket().close()  # as when the process is killed
        wait_until(lambda: "offline" in [m.payload.decode() for m in listener.messages])
        receiver.close()
        listener.close()


class WhileHeard:
    """Passes events on while the listener is subscribed: a broker forgets what nobody listens to."""

    def __init__(self, receiver, listener):
        self.name, self.close = receiver.name, receiver.close
        self._receiver, self._listener = receiver, listener

    def send(self, events):
        if not self._listener.subscribed.is_set():
            raise SourceError("nobody listens yet")
        self._receiver.send(events)


def test_mosquitto_killed_in_the_middle_loses_nothing(tmp_path):
    with Broker() as broker:
        listener = Listener(broker.port, "site/events")
        receiver = WhileHeard(open_receiver(broker.url), listener)
        with Delivery(receiver, Spool(tmp_path / "spool.db"), patience_s=20) as delivery:
            for number in range(120):
                delivery.write(happening(number))
                if number == 40:
                    wait_until(lambda: len(listener.messages) >= 41 and delivery.waiting == 0)
                    broker.kill()
                if number == 80:
                    wait_until(lambda: delivery.failures > 0)
                    broker.start()
            wait_until(lambda: delivery.waiting == 0, 40)
        heard = {json.loads(message.payload)["at_s"] for message in listener.messages}
        listener.close()
    assert heard == set(range(120))


def test_a_webhook_gets_signed_events(hook, monkeypatch):
    monkeypatch.setenv("MASKWATCH_WEBHOOK_SECRET", "s3cret")
    receiver = open_receiver(f"http://127.0.0.1:{hook.server_port}/200")
    receiver.send(spooled(0, 1))
    receiver.close()
    ((headers, body),) = hook.got
    assert [one["event_id"] for one in json.loads(body)["events"]] == ["id0", "id1"]
    assert headers["X-Maskwatch-Signature"] == sign(body, headers["X-Maskwatch-Timestamp"], "s3cret")
    assert abs(int(headers["X-Maskwatch-Timestamp"]) - time.time()) < 60
    # as `printf '5.{}' | openssl dgst -sha256 -hmac k` gives it
    openssl = "d066254199a6f40d63f96c33c549959d7a371ef849d13d2a85811237089b2d00"
    assert sign(b"{}", "5", "k") == f"sha256={openssl}"


def test_a_webhook_says_what_went_wrong(hook):
    url = f"http://me:secret@127.0.0.1:{hook.server_port}"
    with pytest.raises(SourceError, match="status 503"):
        Webhook(f"{url}/503?token=secret").send(spooled(0))
    with pytest.raises(RejectedError, match="status 422") as caught:
        Webhook(f"{url}/422?token=secret").send(spooled(0))
    assert "secret" not in str(caught.value)
    assert "X-Maskwatch-Signature" not in hook.got[0][0]
    with pytest.raises(SourceError, match="cannot be reached"):
        Webhook(f"http://127.0.0.1:{free_port()}/").send(spooled(0))


def test_people_are_told_of_alerts_alone(hook):
    receiver = open_receiver(f"apprise:json://127.0.0.1:{hook.server_port}/200")
    assert isinstance(receiver, Notifier)
    start = SpooledEvent(1, "a", Event("start", "door", 0.0).to_dict())
    receiver.send([start])
    assert not hook.got
    told = SpooledEvent(2, "b", Event("alert", "door", 0.0, message="person 3 without a mask").to_dict())
    receiver.send([start, told])
    assert "door: person 3 without a mask" in hook.got[0][1].decode()
    bad = open_receiver(f"apprise:json://127.0.0.1:{hook.server_port}/500")
    with pytest.raises(SourceError, match="json notification: the service did not take"):
        bad.send([told])


def test_what_is_no_receiver_is_named():
    for address in ("events.txt", "ftp://me:secret@host/x", "", "mysql://me:secret@host/x", "apprise:x"):
        with pytest.raises(OptionError) as caught:
            open_receiver(address)
        assert "secret" not in str(caught.value)
    with pytest.raises(OptionError, match="no host"):
        open_receiver("mqtt:///topic")
    with pytest.raises(OptionError, match=r"[Pp]ort"):
        open_receiver("mqtt://host:port/topic")

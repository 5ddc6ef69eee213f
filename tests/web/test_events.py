"""The event store: what was written is read back, filtered, counted and exported."""

from __future__ import annotations

import csv
import io
import sqlite3
import time

import pytest

from maskwatch import OptionError, SourceError
from maskwatch.events import Aggregate, Event
from maskwatch.sinks.database import Database
from maskwatch.sinks.event_store import EventFilter, EventStore
from maskwatch.sinks.spool import SpooledEvent
from maskwatch.web.serving import ServeOptions, serving
from tests.services.servers import Postgres, free_port
from tests.web.conftest import asked
from tests.web.test_detect import problem

NOW = 1_700_000_000.0


def event(number, kind="alert", camera="door", **values):
    return Event(
        kind, camera, float(number), NOW + number, **{"verdict": "without_mask", "track_id": number, **values}
    )


EVENTS = [
    event(1, "start", verdict="uncertain", best_xyxy=(1.0, 2.0, 3.0, 4.0)),
    event(2, message="person 2: 100% without_mask", rule="without_mask"),
    event(3, camera="gate", message="=cmd|' /C calc'!A0"),
    event(4, "end", camera="gate", verdict="with_mask", duration_s=4.5),
    event(5, "lost", camera="gate", verdict="", track_id=None, message="gate is lost: cable"),
]
SUMS = [
    Aggregate("door", 60.0, NOW + 60, 60.0, 3, 2, (30.0, 10.0, 0.0, 5.0)),
    Aggregate("door", 120.0, NOW + 119, 60.0, 1, 4, (10.0, 0.0, 0.0, 0.0)),
    Aggregate("door", 300.0, NOW + 300, 60.0, 0, 0, (0.0, 0.0, 0.0, 0.0)),
    Aggregate("gate", 60.0, NOW + 60, 60.0, 1, 1, (0.0, 0.0, 9.0, 0.0)),
]


def fill(url, happenings=(*EVENTS, *SUMS)):
    database = Database(url)
    database.send([SpooledEvent(n, f"id{n}", one.to_dict()) for n, one in enumerate(happenings)])
    database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request, tmp_path_factory):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('events') / 'events.db'}"
        fill(url)
        kept = EventStore(url)
        yield kept
        kept.close()
        return
    with Postgres() as postgres:
        fill(postgres.url)
        kept = EventStore(postgres.url)
        yield kept
        kept.close()


def numbers(store, **wanted):
    return [round(row["wall_time"] - NOW) for row in store.events(EventFilter(**wanted))]


def test_filters(store):
    assert numbers(store) == [5, 4, 3, 2, 1]
    assert numbers(store, sources=("gate",)) == [5, 4, 3]
    assert numbers(store, kinds=("alert", "lost")) == [5, 3, 2]
    assert numbers(store, verdicts=("without_mask",)) == [3, 2]
    assert numbers(store, since=NOW + 2, until=NOW + 4) == [3, 2]
    assert numbers(store, text="LOST") == [5]
    assert numbers(store, text="100%") == [2]
    assert numbers(store, text="%") == [2], "a sign, no wildcard"
    assert numbers(store, text="without_m") == [2]
    assert numbers(store, text="'; drop table maskwatch_events; --") == []
    assert numbers(store, offset=1, limit=2) == [4, 3]
    assert store.count(EventFilter(sources=("gate",), limit=1)) == 3


def test_values_come_back_as_they_were(store):
    (row,) = store.events(EventFilter(kinds=("start",)))
    for name, value in EVENTS[0].to_dict().items():
        assert row[name] == value, name


def test_compliance_by_stretch(store):
    shares = store.shares(NOW, NOW + 1000, 120)
    begin = NOW // 120 * 120
    assert shares["gate"] == [[begin + 120, 0.0, 1]]
    # no sure person-time is no compliance, and not zero
    assert shares["door"] == [[begin + 120, 0.8, 4], [begin + 360, None, 0]]
    whole = store.shares(NOW, NOW + 1000, 100_000)
    assert whole["door"] == [[NOW // 100_000 * 100_000, 0.8, 4]]
    assert store.shares(NOW + 5000, NOW + 6000, 60) == {}


def test_impossible_wishes():
    with pytest.raises(OptionError, match="limit"):
        EventFilter(limit=0)
    with pytest.raises(OptionError, match="offset"):
        EventFilter(offset=-1)


def test_nothing_stored_yet_is_nothing(tmp_path):
    store = EventStore(f"sqlite:///{tmp_path / 'new.db'}")
    assert numbers(store) == []
    assert store.count(EventFilter()) == 0
    assert store.shares(0, time.time(), 60) == {}
    store.close()


def test_a_damaged_database_is_named(tmp_path):
    (tmp_path / "bad.db").write_bytes(b"no database at all, but some bytes that are long enough " * 40)
    store = EventStore(f"sqlite:///{tmp_path / 'bad.db'}")
    with pytest.raises(SourceError, match=r"bad\.db: events cannot be read"):
        numbers(store)
    store.close()


@pytest.fixture(scope="module")
def http(tmp_path_factory, one_thread):
    url = f"sqlite:///{tmp_path_factory.mktemp('events') / 'events.db'}"
    now = time.time()
    recent = [Aggregate("door", 60.0, now - 30, 60.0, 1, 1, (3.0, 1.0, 0.0, 0.0))]
    fill(url, (*EVENTS, *recent))
    store = EventStore(url)
    with (
        serving(one_thread, one_thread, ServeOptions(port=0), events=store) as running,
        asked(running) as client,
    ):
        yield client
    store.close()


def test_events_over_http(http):
    content = http.get("/v1/events", params={"camera": ["gate", "door"], "kind": "alert", "limit": 1}).json()
    assert content["total"] == 2
    assert [one["message"] for one in content["events"]] == ["=cmd|' /C calc'!A0"]
    assert problem(http.get("/v1/events?limit=0"), 400)
    assert problem(http.get("/v1/events?since=yesterday"), 400)


def test_the_table_for_spreadsheets(http):
    answer = http.get("/v1/events.csv", params={"text": ""})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["kind"] for row in rows] == ["lost", "end", "alert", "alert", "start"]
    assert rows[2]["message"] == "'=cmd|' /C calc'!A0", "no spreadsheet shall run what a name says"
    assert rows[1]["duration_s"] == "4.5"


def test_compliance_over_http(http):
    content = http.get("/v1/compliance?hours=1").json()
    assert [share for _, share, _ in content["cameras"]["door"]] == [0.75]
    assert problem(http.get("/v1/compliance?hours=0"), 400)


def test_the_store_is_only_read(http, tmp_path_factory):
    """No path of the interface writes to it: the tables are those that the writer made."""
    path = next(tmp_path_factory.getbasetemp().glob("events*/events.db"))
    with sqlite3.connect(path) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type='table'")}
    database.close()
    assert tables == {"maskwatch_schema", "maskwatch_events", "maskwatch_aggregates"}


def test_a_database_that_is_away_is_no_fault_of_the_caller(one_thread):
    away = EventStore(f"postgresql://tester:s3cret@127.0.0.1:{free_port()}/postgres")
    with (
        serving(one_thread, one_thread, ServeOptions(port=0), events=away) as running,
        asked(running) as client,
    ):
        for path in ("/v1/events", "/v1/events.csv", "/v1/compliance"):
            answer = client.get(path)
            assert "cannot be read" in problem(answer, 503)
            assert answer.headers["Retry-After"] == "5"
            assert "s3cret" not in answer.text
    away.close()

"""Events reach receivers that are slow, dead or killed: once each, in order, or counted."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

import pytest

from maskwatch import OptionError, RejectedError, SourceError
from maskwatch.events import Aggregate, Event
from maskwatch.pipeline import Delivery
from maskwatch.sinks.spool import Spool
from tests.services.servers import wait_until


def event(number):
    return Event("start", "door", float(number), 1000.0 + number, track_id=number, verdict="with_mask")


class Fake:
    """A receiver in memory; `away` makes it refuse."""

    name = "fake"

    def __init__(self):
        self.away = False
        self.got = []
        self.closed = False

    def send(self, events):
        if self.away:
            raise SourceError("fake: away")
        self.got += events

    def close(self):
        self.closed = True

    @property
    def numbers(self):
        return [one.values["track_id"] for one in self.got]


def test_events_arrive_in_order(tmp_path):
    fake = Fake()
    with Delivery(fake, Spool(tmp_path / "spool.db")) as delivery:
        for number in range(250):
            delivery.write(event(number))
    assert fake.numbers == list(range(250))
    assert (delivery.delivered, delivery.waiting, fake.closed) == (250, 0, True)
    assert len({one.event_id for one in fake.got}) == 250


def test_a_dead_receiver_stops_nobody_and_gets_all_later(tmp_path):
    fake = Fake()
    fake.away = True
    with Delivery(fake, Spool(tmp_path / "spool.db")) as delivery:
        started = time.monotonic()
        for number in range(20):
            delivery.write(event(number))
        assert time.monotonic() - started < 0.5
        wait_until(lambda: delivery.failures > 0)
        assert delivery.last_error == "fake: away"
        assert delivery.waiting == 20
        fake.away = False
        wait_until(lambda: delivery.waiting == 0)
    assert fake.numbers == list(range(20))


def test_what_waits_is_sent_by_the_next_run(tmp_path):
    fake = Fake()
    fake.away = True
    with Delivery(fake, Spool(tmp_path / "spool.db"), patience_s=0.2) as delivery:
        for number in range(5):
            delivery.write(event(number))
    assert fake.closed
    fake.away = False
    with Delivery(fake, Spool(tmp_path / "spool.db")):
        pass
    assert fake.numbers == list(range(5))


def test_the_spool_is_bounded_and_drops_the_oldest(tmp_path):
    fake = Fake()
    fake.away = True
    spool = Spool(tmp_path / "spool.db", most_events=10)
    with Delivery(fake, spool) as delivery:
        for number in range(25):
            delivery.write(event(number))
        assert (delivery.waiting, spool.dropped) == (10, 15)
        fake.away = False
        wait_until(lambda: delivery.waiting == 0)
    assert fake.numbers == list(range(15, 25))


def test_what_is_refused_for_good_is_counted_and_blocks_nothing(tmp_path):
    class Picky(Fake):
        def send(self, events):
            if any(one.values["track_id"] == 1 for one in events):
                raise RejectedError("fake: no ones")
            super().send(events)

    picky = Picky()
    with Delivery(picky, Spool(tmp_path / "spool.db")) as delivery:
        delivery.write(event(1))
        wait_until(lambda: delivery.rejected == 1)
        delivery.write(event(2))
    assert picky.numbers == [2]
    assert delivery.failures == 0


def test_a_spool_survives_a_kill(tmp_path):
    """What `write` has returned for is on disk: a second connection sees it."""
    spool = Spool(tmp_path / "spool.db")
    spool.add(event(1).to_dict())
    other = sqlite3.connect(tmp_path / "spool.db")
    assert json.loads(other.execute("SELECT body FROM waiting").fetchone()[0])["track_id"] == 1
    other.close()
    spool.close()


def test_two_threads_may_write(tmp_path):
    fake = Fake()
    with Delivery(fake, Spool(tmp_path / "spool.db"), patience_s=20) as delivery:
        threads = [
            threading.Thread(target=lambda: [delivery.write(event(number)) for number in range(100)])
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(fake.numbers) == sorted([*range(100), *range(100)])


def test_a_spool_of_another_version_is_named(tmp_path):
    database = sqlite3.connect(tmp_path / "later.db")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(SourceError, match="another maskwatch version"):
        Spool(tmp_path / "later.db")


def test_sums_hold_nothing_about_one_person():
    aggregate = Aggregate("door", 60.0, 1060.0, 60.0, 3, 2, (30.0, 10.0, 0.0, 5.0))
    assert aggregate.compliance == pytest.approx(0.75)
    assert set(aggregate.to_dict()) == {
        "kind",
        "source_id",
        "at_s",
        "wall_time",
        "duration_s",
        "people",
        "most",
        "with_mask_s",
        "without_mask_s",
        "mask_worn_incorrectly_s",
        "uncertain_s",
        "compliance",
    }
    assert Aggregate("door", 60.0, None, 60.0, 0, 0, (0, 0, 0, 5.0)).compliance is None


def test_options_are_checked(tmp_path):
    from maskwatch.events import Aggregator
    from maskwatch.pipeline import WatchOptions

    with pytest.raises(OptionError, match="more than 0 s"):
        Aggregator("door", 0)
    with pytest.raises(OptionError, match="aggregate_every_s"):
        WatchOptions(aggregate_only=True)

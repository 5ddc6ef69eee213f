"""The sums of `benchmarks.soak`: what is missing shows."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from benchmarks.soak import accounts_of
from benchmarks.soak_callers import Callers, uploads

from tests.clips import make_clip, numbered

SAID = """
/disk/events.jsonl: 10 of 10 events delivered
postgresql://***@127.0.0.1:1/postgres: 7 of 10 events delivered, 2 wait for the next start (away), 1 dropped
mqtt://127.0.0.1:2/site: 10 of 10 events delivered
http://127.0.0.1:3: 9 of 10 events delivered, 1 refused (status 400)
"""
ARRIVED = {
    "file": [str(n) for n in range(10)],
    "table": [str(n) for n in range(7)],
    "broker": [*(str(n) for n in range(10)), "3"],
    "webhook": [str(n) for n in range(9)],
}


def test_what_arrived_waits_or_was_dropped_is_accounted_for():
    accounts = accounts_of(SAID, ARRIVED)
    assert accounts["unaccounted"] == 0
    assert accounts["receivers"]["broker"]["twice"] == 1


@pytest.mark.parametrize("name", list(ARRIVED))
def test_an_event_that_did_not_arrive_shows(name):
    assert accounts_of(SAID, {**ARRIVED, name: ARRIVED[name][2:]})["unaccounted"] > 0


def test_an_event_that_nobody_counted_shows():
    assert accounts_of(SAID.replace(", 1 dropped", ""), ARRIVED)["unaccounted"] == 1
    assert accounts_of(re.sub("mqtt.*", "", SAID), ARRIVED)["unaccounted"] == -1, "one does not report"


def test_uploads_without_an_answer_show_unless_the_line_was_cut(tmp_path):
    callers = Callers(1, make_clip(tmp_path / "a.mp4", [numbered(1)]))
    good, bad = uploads()["good"][0], uploads()["bad"][0]
    callers.answers["good"] = Counter({"200": 5, "no answer": 2})
    assert [callers.figures(cut)["unaccounted"] for cut in (0, 1, 2, 3)] == [2, 1, 0, 0]
    callers._note("good", good, 200, b'{"images": [{"faces": [1]}]}')
    callers._note("bad", bad, 415, b"")
    callers._note("bad", bad, 429, b"")
    assert callers.figures(2)["wrong"] == []
    callers._note("good", good, 200, b'{"images": [{"faces": []}]}')
    callers._note("bad", bad, 200, b"")
    callers._note("bad", bad, 500, b"")
    assert callers.figures(2)["unaccounted"] == 3

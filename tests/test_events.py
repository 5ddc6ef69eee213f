import numpy as np
import pytest

from maskwatch import Detections, OptionError
from maskwatch.events import Aggregator, EventBuilder, Line, RuleBook, Rules, Zone

SIZE = (100, 100)
MASK, BARE, WRONG, UNSURE = range(4)


def people(*rows):
    """`rows`: (track_id, verdict, x, y) with the middle of the chin at (x, y) of a 100-px picture."""
    return Detections(
        xyxy=np.array([(x - 5, y - 12, x + 5, y) for _, _, x, y in rows], float).reshape(-1, 4),
        score=np.array([0.5 + 0.01 * x for _, _, x, _ in rows]),
        label=np.array([min(verdict, 2) for _, verdict, _, _ in rows], int),
        verdict=np.array([verdict for _, verdict, _, _ in rows], int),
        track_id=np.array([track_id for track_id, _, _, _ in rows], int),
    )


def run(book, frames, fps=10):
    events = []
    for index, frame in enumerate(frames):
        events += book.update(frame, index / fps, SIZE)
    return events


def test_a_visit_from_start_to_end():
    builder = EventBuilder("door", wall_origin=1000.0)
    events = []
    for step in range(30):
        verdict = UNSURE if step < 3 else BARE if step < 13 else MASK
        seen = people((7, verdict, 20 + step, 50)) if step < 25 else people()
        events += builder.update(seen, step / 10, frozenset({7} if step < 28 else ()))
    assert [(event.kind, event.verdict) for event in events] == [
        ("start", "uncertain"),
        ("update", "without_mask"),
        ("update", "with_mask"),
        ("end", "with_mask"),
    ]
    end = events[-1]
    assert end.source_id == "door"
    assert end.at_s == pytest.approx(2.8)
    assert end.wall_time == pytest.approx(1002.8)
    assert end.start_s == 0
    assert end.duration_s == pytest.approx(2.4)
    assert end.without_mask_s == pytest.approx(1.0)
    assert end.best_score == pytest.approx(0.94)
    assert end.best_xyxy == (39, 38, 49, 50)
    assert end.to_dict()["best_xyxy"] == [39, 38, 49, 50]


def test_closing_ends_all_visits_once():
    builder = EventBuilder("door")
    builder.update(people((1, MASK, 10, 10), (2, BARE, 50, 50)), 0.0, frozenset())
    assert [event.kind for event in builder.close(1.0)] == ["end", "end"]
    assert builder.close(2.0) == []


def test_without_a_mask_for_too_long_is_said_once():
    book = RuleBook(Rules(without_mask_s=2.0), "door")
    events = run(book, [people((1, BARE, 50, 50), (2, MASK, 20, 20))] * 60)
    (alert,) = events
    assert (alert.kind, alert.rule, alert.track_id) == ("alert", "without_mask", 1)
    assert alert.at_s == pytest.approx(2.0, abs=0.11)
    assert alert.message == "person 1 without a mask for 2.0 s"


def test_putting_it_on_again_starts_the_count_afresh_but_doubt_does_not():
    bare, masked, unsure = (people((1, verdict, 50, 50)) for verdict in (BARE, MASK, UNSURE))
    assert run(RuleBook(Rules(), "x"), ([bare] * 15 + [masked]) * 4) == []
    assert len(run(RuleBook(Rules(), "x"), ([bare] * 15 + [unsure]) * 4)) == 1
    again = run(RuleBook(Rules(), "x"), [bare] * 30 + [masked] + [bare] * 30)
    assert [event.rule for event in again] == ["without_mask"] * 2


def test_worn_wrong_counts_if_asked():
    frames = [people((1, WRONG, 50, 50))] * 40
    assert run(RuleBook(Rules(), "x"), frames) == []
    assert len(run(RuleBook(Rules(wrong_counts=True), "x"), frames)) == 1


def test_zones_limit_the_rules():
    left = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
    rules = Rules(zones=(left,), more_than=0, repeat_s=1000)
    assert run(RuleBook(rules, "x"), [people((1, BARE, 80, 50))] * 40) == []
    inside = run(RuleBook(rules, "x"), [people((1, BARE, 30, 50))] * 40)
    assert sorted(event.rule for event in inside) == ["count", "without_mask"]


def test_a_zone_may_have_any_shape():
    letter_l = Zone("L", ((0, 0), (0.2, 0), (0.2, 0.8), (1, 0.8), (1, 1), (0, 1)))
    points = np.array([(0.1, 0.5), (0.5, 0.9), (0.5, 0.5), (0.9, 0.1)])
    assert letter_l.holds(points).tolist() == [True, True, False, False]


def test_too_many_people_is_repeated_after_a_while():
    rules = Rules(more_than=2, repeat_s=1.0, without_mask_s=None)
    crowd = people((1, MASK, 10, 50), (2, MASK, 50, 50), (3, MASK, 90, 50))
    events = run(RuleBook(rules, "x"), [crowd] * 25)
    assert [round(event.at_s, 1) for event in events] == [0.0, 1.0, 2.0]
    assert events[0].message == "3 people, more than 2"


def test_compliance_is_the_share_of_sure_person_time():
    book = RuleBook(Rules(compliance_below=0.9, compliance_window_s=20, without_mask_s=None), "x")
    both = people((1, MASK, 10, 50), (2, BARE, 50, 50), (3, UNSURE, 90, 50))
    events = run(book, [both] * 100)
    assert book.compliance == pytest.approx(0.5)
    assert events[0].message == "compliance 50% is below 90%"
    assert len(events) == 1
    assert run(RuleBook(Rules(compliance_below=0.9), "x"), [people((1, MASK, 10, 50))] * 100) == []


def test_the_window_forgets():
    book = RuleBook(Rules(compliance_window_s=3, without_mask_s=None), "x")
    run(book, [people((1, BARE, 50, 50))] * 30 + [people((1, MASK, 50, 50))] * 60)
    assert book.compliance == pytest.approx(1.0)


def test_lines_count_by_direction():
    line = Line("door", (0.5, 0.0), (0.5, 1.0))
    book = RuleBook(Rules(lines=(line,), without_mask_s=None), "x")
    walk = [people((1, MASK, x, 50)) for x in (30, 45, 55, 70, 55, 45, 30)]
    events = run(book, walk)
    assert [(event.kind, event.rule) for event in events] == [
        ("crossing", "door:out"),
        ("crossing", "door:in"),
    ]
    past_the_end = Line("short", (0.5, 0.0), (0.5, 0.2))
    assert run(RuleBook(Rules(lines=(past_the_end,), without_mask_s=None), "x"), walk) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Zone("z", ((0, 0), (1, 1))),
        lambda: Zone("z", ((0, 0), (1, 1), (2, 0))),
        lambda: Line("l", (0, 0), (0, 0)),
        lambda: Rules(without_mask_s=-1),
        lambda: Rules(compliance_below=90),
        lambda: Rules(more_than=-1),
        lambda: Rules(compliance_window_s=0),
    ],
)
def test_impossible_rules_are_refused(make):
    with pytest.raises(OptionError):
        make()


def test_an_aggregate_counts_time_by_verdict_and_visits():
    sums = Aggregator("door", 1.0, wall_origin=100.0)
    done = []
    for step in range(25):
        verdict = BARE if step < 5 else MASK
        seen = [(1, verdict, 20, 50)] + ([(2, UNSURE, 60, 50)] if 3 <= step < 9 else [])
        done += sums.update(people(*seen), step / 10, frozenset({1, 2}))
    done += sums.close()
    assert [one.at_s for one in done] == pytest.approx([1.0, 2.0, 2.4])
    first = done[0]
    assert (first.people, first.most, first.wall_time) == (2, 2, pytest.approx(101.0))
    assert first.verdict_s == pytest.approx((0.5, 0.4, 0.0, 0.6))
    assert first.compliance == pytest.approx(5 / 9)
    assert sum(one.people for one in done) == 2
    assert sums.close() == []


def test_an_aggregate_does_not_count_a_pause():
    sums = Aggregator("door", 60.0)
    for at_s in (0.0, 0.5, 30.0, 30.5):
        sums.update(people((1, MASK, 20, 50)), at_s, frozenset({1}))
    (one,) = sums.close()
    assert one.verdict_s[MASK] == pytest.approx(1.0)
    assert one.to_dict()["compliance"] == 1.0


def test_an_aggregate_without_a_sure_verdict_has_no_compliance():
    sums = Aggregator("door", 60.0)
    for at_s in (0.0, 0.5):
        sums.update(people((1, UNSURE, 20, 50)), at_s, frozenset({1}))
    assert sums.close()[0].to_dict()["compliance"] is None
    with pytest.raises(OptionError, match="more than 0 s"):
        Aggregator("door", 0)

from itertools import pairwise

import numpy as np
import pytest

from maskwatch import Detections, OptionError
from maskwatch.verdicts import PersonVerdicts, VerdictOptions, sharpness

MASK, BARE = (0.9, 0.15, 0.1), (0.15, 0.9, 0.1)
TORN = (0.6, 0.55, 0.1)


def look(label_scores, side=60, track_id=1):
    return Detections(
        xyxy=np.array([[0, 0, side, side]], float),
        score=np.array([max(label_scores)]),
        label=np.array([int(np.argmax(label_scores))]),
        label_scores=np.array([label_scores]),
        track_id=np.array([track_id]),
    )


def verdicts(looks, fps=10, **options):
    persons = PersonVerdicts(VerdictOptions(**options))
    return [persons.update(one, index / fps).verdict_names[0] for index, one in enumerate(looks)]


def test_uncertain_until_sure_then_steady():
    seen = verdicts([look(MASK)] * 20)
    assert seen[0] == "uncertain"
    assert set(seen[4:]) == {"with_mask"}


def test_a_single_wrong_look_changes_nothing():
    looks = [look(MASK)] * 10 + [look(BARE)] + [look(MASK)] * 10
    assert set(verdicts(looks)[5:]) == {"with_mask"}


def test_labels_that_flicker_never_flip_the_verdict():
    rng = np.random.default_rng(0)
    looks = [look(BARE if rng.random() < 0.25 else MASK) for _ in range(300)]
    raw = [one.label_names[0] for one in looks]
    seen = verdicts(looks)
    flips = sum(a != b for a, b in pairwise(raw))
    assert flips > 80
    assert "without_mask" not in seen
    assert sum(a != b for a, b in pairwise(seen)) <= 5


def test_a_mask_taken_off_is_noticed_within_a_second_or_so():
    looks = [look(MASK)] * 100 + [look(BARE)] * 30
    seen = verdicts(looks)
    assert seen[99] == "with_mask"
    assert seen.index("without_mask") - 100 <= 15
    assert "uncertain" in seen[100:115]


def test_small_faces_need_more_looks():
    def first_sure(side):
        return verdicts([look(MASK, side)] * 60).index("with_mask")

    assert first_sure(60) < first_sure(12) < first_sure(6)


def test_torn_looks_stay_uncertain_longer():
    assert verdicts([look(TORN)] * 8)[-1] == "uncertain"


def test_looks_at_a_high_frame_rate_count_less_each():
    slow, fast = verdicts([look(MASK)] * 40, fps=8), verdicts([look(MASK)] * 400, fps=80)
    assert fast.index("with_mask") / 80 == pytest.approx(slow.index("with_mask") / 8, abs=0.2)


def test_blurred_faces_say_less(astronaut):
    face = np.array([178, 63, 268, 176], np.float32)
    blurred = np.ascontiguousarray(np.repeat(np.repeat(astronaut[::32, ::32], 32, 0), 32, 1))
    flat = np.full_like(astronaut, 90)
    assert sharpness(astronaut, face) > 200
    assert sharpness(flat, face) == 0
    assert sharpness(astronaut, np.array([600, 600, 700, 700], np.float32)) == 0
    assert sharpness(blurred, face) >= 0

    def evidence(image):
        persons = PersonVerdicts()
        one = look(MASK)
        tracked = Detections(
            xyxy=face[None],
            score=one.score,
            label=one.label,
            label_scores=one.label_scores,
            track_id=one.track_id,
        )
        return [persons.update(tracked, index / 10, image).verdict_names[0] for index in range(10)]

    assert evidence(astronaut).count("with_mask") > evidence(flat).count("with_mask")


def test_persons_are_separate_and_can_be_forgotten():
    persons = PersonVerdicts()
    for step in range(10):
        persons.update(Detections.concatenate([look(MASK, track_id=1), look(BARE, track_id=2)]), step / 10)
    both = Detections.concatenate([look(BARE, track_id=1), look(MASK, track_id=2), look(MASK, track_id=3)])
    assert persons.recall(both).verdict_names == ["with_mask", "without_mask", "uncertain"]
    persons.forget(frozenset({2}))
    assert persons.recall(both).verdict_names == ["uncertain", "without_mask", "uncertain"]


def test_faces_without_a_track_keep_their_verdict():
    lone = look(MASK, track_id=-1)
    assert PersonVerdicts().update(lone, 0.0).verdict_names == ["with_mask"]


@pytest.mark.parametrize(
    "options", [{"doubt_odds": 0.5}, {"decide_odds": 1.5}, {"half_life_s": 0}, {"sharp": -1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        VerdictOptions(**options)

"""Scores that mean what they say: the fit on made-up outcomes with a known truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.evaluate import outcomes
from maskwatch.training import calibration
from maskwatch.training.calibration import (
    MISS_COST,
    WORN_WRONG,
    WORTH_REPORTING,
    Calibration,
    SecondLook,
    SecondOpinion,
    calibrate,
    logit,
    sigmoid,
)


def pictures(count, *, scale, shift, wrong_label=0.0, seed=0):
    """One face a picture, found with a score s and right with the chance σ(scale · logit(s) + shift)."""
    rng = np.random.default_rng(seed)
    box = np.array([[10, 10, 50, 50]], np.float32)
    truths, found = [], []
    for _ in range(count):
        score = rng.uniform(0.05, 0.95)
        hit = rng.random() < sigmoid(scale * logit(np.array([score])) + shift)[0]
        sure = rng.random() < 0.8
        other = 0.02 if sure else rng.uniform(0.3, 0.6) * score
        swapped = not sure and rng.random() < wrong_label
        faces = Detections(xyxy=box, score=np.ones(1, np.float32), label=np.array([int(swapped)], np.int8))
        truths.append(LabelledImage(Path("x"), (100, 100), faces, np.array([False])))
        found.append(
            Detections(
                xyxy=box if hit else box + 45,
                score=np.array([score], np.float32),
                label=np.array([0], np.int8),
                label_scores=np.array([[score, other, 0.0]], np.float32),
            )
        )
    return truths, found


def test_the_map_that_made_the_outcomes_is_found():
    fitted = calibrate(*pictures(4000, scale=1.8, shift=0.7))
    assert fitted.scale == pytest.approx(1.8, abs=0.2)
    assert fitted.shift == pytest.approx(0.7, abs=0.2)
    assert fitted.detections == 4000


def test_the_second_stage_counts_for_as_much_as_it_knows():
    """At small faces the outcome follows its chance, at the others the detector's score."""
    truths, found = pictures(3000, scale=1.5, shift=0.2)
    rng = np.random.default_rng(1)
    looks = []
    for number, (truth, one) in enumerate(zip(truths, found, strict=True)):
        small = bool(number % 2)
        chance = np.full((1, 3), 0.01)
        chance[0, 0] = rng.uniform(0.05, 0.95)
        if small:
            hit = rng.random() < sigmoid(1.2 * logit(chance[0, :1]) + 0.3 * logit(one.score) - 0.5)[0]
            found[number] = replace(one, xyxy=truth.faces.xyxy if hit else truth.faces.xyxy + 45)
        looks.append(SecondLook(chance, np.array([small])))
    fitted = calibrate(truths, found, looks)
    assert fitted.near.detector == pytest.approx(1.5, abs=0.2)
    assert fitted.near.refiner == pytest.approx(0, abs=0.1)
    assert fitted.near.shift == pytest.approx(0.2, abs=0.2)
    assert fitted.small.detector == pytest.approx(0.3, abs=0.15)
    assert fitted.small.refiner == pytest.approx(1.2, abs=0.2)
    assert fitted.small.shift == pytest.approx(-0.5, abs=0.2)
    assert fitted.wrong == WORN_WRONG


def test_each_size_and_label_has_its_own_map():
    near, small, wrong = (
        SecondOpinion(*row) for row in ((0.5, 0.2, 0.1), (0.3, 0.8, -0.1), (0.1, 1.1, -1.0, 0.5))
    )
    score = np.array([[0.2, 0.3, 0.4], [0.2, 0.3, 0.4]])
    look = SecondLook(np.array([[0.6, 0.3, 0.1]] * 2), np.array([True, False]))
    calibration = Calibration(scale=0.9, shift=0.2, small=small, near=near, wrong=wrong)
    first, second = logit(score), logit(look.chances)
    of_small = sigmoid(0.3 * first + 0.8 * second - 0.1)
    of_near = sigmoid(0.5 * first + 0.2 * second + 0.1)
    of_wrong = sigmoid(0.1 * first + 1.1 * second - 1.0 + 0.5 * first[:, 2:])  # the last is the best
    both = np.array([[*of_small[0, :2], of_wrong[0, 2]], [*of_near[1, :2], of_wrong[1, 2]]])
    given = calibration.apply_both(score, look)
    np.testing.assert_allclose(given[0], both[0])
    np.testing.assert_allclose(given[1] / both[1], given[1, 0] / both[1, 0])  # the labels' shares stay
    np.testing.assert_allclose(given[1].max() ** 2, calibration.apply(score[1]).max() * both[1].max())


def test_labels_that_are_often_wrong_become_uncertain():
    fitted = calibrate(*pictures(3000, scale=2.0, shift=2.0, wrong_label=0.5), target_error=0.01)
    # sure labels have a share above 0.95, the doubtful ones far less
    assert 0.55 < fitted.certainty_threshold < 0.95
    assert fitted.target_error == 0.01
    never_wrong = calibrate(*pictures(3000, scale=2.0, shift=2.0, wrong_label=0.0), target_error=0.2)
    assert never_wrong.certainty_threshold < fitted.certainty_threshold


def test_where_no_share_is_sure_enough_doubt_is_weighed_against_mistakes():
    """Half of the labels below 0.8 are wrong, which is worse than doubt, and a tenth above, which is not."""
    rng = np.random.default_rng(2)
    share = rng.uniform(0.6, 1, 4000)
    right = rng.random(4000) > np.where(share < 0.8, 0.5, 0.1)
    certainty, error = calibration._certainty(share, right, 0.01)
    assert certainty == pytest.approx(0.8, abs=0.01)
    assert error == pytest.approx(0.1, abs=0.02)


def test_without_mistakes_there_is_nothing_to_learn():
    truths, found = pictures(5, scale=1.0, shift=50.0)
    assert calibrate(truths, found) == Calibration()


def test_scores_keep_their_order_and_their_range():
    score = np.linspace(0, 1, 101)
    given = Calibration(scale=2.3, shift=-1.0).apply(score)
    assert (np.diff(given[1:-1]) > 0).all()
    assert given.min() > 0
    assert given.max() < 1


def test_reporting_from_the_score_threshold_on_costs_least():
    truths, found = pictures(4000, scale=1.7, shift=-0.6)
    fitted = calibrate(truths, found)
    assert fitted.score_threshold == WORTH_REPORTING == pytest.approx(0.4)
    seen = outcomes(truths, found)
    score = fitted.apply(seen.label_scores.max(axis=1))
    right = seen.label == seen.true_label

    def cost(threshold):
        reported = score >= threshold
        return (reported & ~right).sum() + MISS_COST * (~reported & right).sum()

    assert cost(0.4) < min(cost(0.2), cost(0.65))
    assert cost(0.4) <= 1.02 * min(cost(threshold / 20) for threshold in range(1, 20))


def test_a_target_that_cannot_be_met_is_not_claimed():
    share = np.repeat([0.5, 0.995], [10, 100])
    right = np.repeat([False, True], [10, 100])
    assert calibration._certainty(share, right, 0.02) == (0.6, pytest.approx(1 / 101))
    right[-5:] = False  # wrong, and as sure as can be
    assert calibration._certainty(share, right, 0.02) == (0.6, pytest.approx(0.0766, abs=1e-4))
    truths, found = pictures(2000, scale=1.0, shift=3.0)
    wrong = [replace(one, label_scores=one.label_scores[:, [1, 0, 2]], label=1 - one.label) for one in found]
    fitted = calibrate(truths, found[:1800] + wrong[1800:], target_error=0.02)
    assert fitted.target_error > 0.05

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
    WORTH_REPORTING,
    Calibration,
    Pool,
    calibrate,
    logit,
    sigmoid,
)
from maskwatch.training.refiner import LEAST_CHANCE


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


def test_either_stage_counts_for_as_much_as_it_knows():
    """The outcomes are made by a known pool of both."""
    rng = np.random.default_rng(1)
    true = Pool(face_detector=0.6, face_refiner=1.1, face_shift=-0.4, label_detector=0.3, label_refiner=0.9)
    box = np.array([[10, 10, 50, 50]], np.float32)
    truths, found, looks = [], [], []
    for _ in range(4000):
        score, logits = rng.uniform(0.02, 0.98, (1, 3)), rng.normal(0, 1.5, (1, 4))
        chances = true.apply(score, logits)[0]
        outcome = rng.choice(4, p=[*chances, 1 - chances.sum()])
        if outcome == 2:
            continue  # a mask worn incorrectly is too rare to learn from
        faces = Detections(xyxy=box, score=np.ones(1, np.float32), label=np.array([outcome % 3], np.int8))
        truths.append(LabelledImage(Path("x"), (100, 100), faces, np.array([False])))
        found.append(
            Detections(
                xyxy=box + 45 * (outcome == 3),
                score=score.max(axis=1).astype(np.float32),
                label=score.argmax(axis=1).astype(np.int8),
                label_scores=score.astype(np.float32),
            )
        )
        looks.append(logits)
    pool = calibrate(truths, found, looks).pool
    assert pool.face_detector == pytest.approx(true.face_detector, abs=0.1)
    assert pool.face_refiner == pytest.approx(true.face_refiner, abs=0.15)
    assert pool.label_detector == pytest.approx(true.label_detector, abs=0.08)
    assert pool.label_refiner == pytest.approx(true.label_refiner, abs=0.1)


def test_a_pool_tells_whether_there_is_a_face_from_which_label_it_has():
    score = np.array([[0.2, 0.3, 0.4]])
    logits = np.log([[0.5, 0.2, 0.1, 0.2]])
    pool = Pool(0.9, 0.5, 0.1, label_detector=0.5, label_refiner=2.0, wrong_shift=-0.7)
    given = pool.apply(score, logits)[0]
    np.testing.assert_allclose(given.sum(), sigmoid(0.9 * logit(score[0, 2:]) + 0.5 * np.log([4.0]) + 0.1)[0])
    share = score[0] ** 0.5 * np.array([0.5, 0.2, 0.1]) ** 2 * [1, 1, np.exp(-0.7)]
    np.testing.assert_allclose(given / given.sum(), share / share.sum())


def test_a_second_stage_that_is_too_sure_of_no_face_cannot_forbid_one():
    score, logits = np.array([[0.9, 0.1, 0.1]]), np.array([[0.0, 0.0, 0.0, 50.0]])
    pool = Pool(face_detector=1.0, face_refiner=0.5, face_shift=0.0)
    expected = sigmoid(logit(np.array([0.9])) + 0.5 * logit(np.array([LEAST_CHANCE])))
    np.testing.assert_allclose(pool.apply(score, logits).sum(), expected)


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

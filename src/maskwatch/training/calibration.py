"""Make scores mean what they say: fitted on pictures kept out of training, written into the model.

A score is to be the share of such detections that are right (Guo et al. 2017). Platt's map
(Platt 1999), score → σ(scale · logit(score) + shift), is fitted to the held-out detections; as it
rises, it changes no ranking. Where there is a second stage, maps of both scores take its place, one for small
and one for near faces, fitted in the same way, and so is the threshold for `uncertain`. As such a score is a
chance, what is reported follows from what a missed face costs, and is the same for each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.evaluate import outcomes
from maskwatch.labels import MASK_WORN_INCORRECTLY

FloatArray = npt.NDArray[np.float64]
LEAST_SCORE = 1e-4
"""Scores are kept this far from 0 and 1 before their logits are taken."""
MISS_COST = 1.5
"""What a missed face costs, in false alarms: one too many can be looked at, one missed cannot."""
WORTH_REPORTING = 1 / (1 + MISS_COST)
"""The calibrated score, a chance, from which a face costs more left out than reported (Elkan 2001)."""
DOUBT_COST = 0.2
"""What a label that is told as `uncertain` costs, in wrong labels."""
LEAST_CERTAINTY = 0.6
"""A label with less than this share of the label scores is never sure, however few were wrong."""
_NEWTON_ROUNDS = 50
_SECOND_ROUNDS = 4
_LEAST_WEIGHT = 0.05
_PRIOR_WEIGHT = 4.0
"""How many made-up detections hold the map to the identity where there are few real ones."""


@dataclass(frozen=True)
class SecondOpinion:
    """How the log-odds of both stages make up a face's calibrated score; the defaults are a guess.

    Attributes:
        detector, refiner: weights of the detector's score and of the second stage's chance.
        shift: what is added.
        face: weight of the detector's score for the face's likeliest label, whichever that is.
    """

    detector: float = 1.0
    refiner: float = 0.5
    shift: float = 0.0
    face: float = 0.0

    def apply(self, score: npt.NDArray[np.floating], chance: npt.NDArray[np.floating]) -> FloatArray:
        """Calibrated scores (n, 3) of the detector's and the second stage's chances (n, 3)."""
        odds, best = logit(score), logit(score.max(axis=1, keepdims=True))
        return sigmoid(self.detector * odds + self.refiner * logit(chance) + self.face * best + self.shift)


WORN_WRONG = SecondOpinion(detector=0.5, refiner=0.8, shift=-1.25, face=0.6)
"""For mask_worn_incorrectly, of which the held-out pictures have too few faces: by cross-validation over the
training photos' 131 (docs/experiments.md), where the second stage was the better judge; a little nearer to
the detector, as that one was trained for minutes only."""


@dataclass(frozen=True)
class SecondLook:
    """What the second stage makes of the n faces of a picture.

    Attributes:
        chances: (n, 3) of the labels.
        small: (n,) whether a face is below `refiner.SMALL_PX`.
    """

    chances: npt.NDArray[np.floating]
    small: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """Platt's map and the thresholds that go with it; the default changes nothing.

    Attributes:
        scale, shift: of the map; `scale` is above 0.
        small, near: what makes up scores where there is a second stage, of with_mask and without_mask.
        wrong: the same for mask_worn_incorrectly.
        score_threshold: faces from this calibrated score on are reported.
        certainty_threshold: a label with a smaller share of the label scores is `uncertain`.
        target_error: share of wrong labels that the certainty threshold lets through: what was asked for,
            or, where no threshold reaches that, the least that the held-out pictures bear out.
        detections: number of held-out detections it was fitted to; 0 for the default.
    """

    scale: float = 1.0
    shift: float = 0.0
    small: SecondOpinion = SecondOpinion()
    near: SecondOpinion = SecondOpinion()
    wrong: SecondOpinion = WORN_WRONG
    score_threshold: float = WORTH_REPORTING
    certainty_threshold: float = 0.6
    target_error: float = 0.0
    detections: int = 0

    def apply(self, score: npt.NDArray[np.floating]) -> FloatArray:
        """Calibrated scores of raw ones."""
        return sigmoid(self.scale * logit(score) + self.shift)

    def apply_both(self, score: npt.NDArray[np.floating], look: SecondLook) -> FloatArray:
        """Calibrated scores of the detector's (n, 3) and the second stage's.

        Which near faces there are the detector knows best, and the second stage which label they have: the
        best score of a near face is the geometric mean of what both make of it and of the map alone.
        """
        near, small, wrong = (
            opinion.apply(score, look.chances) for opinion in (self.near, self.small, self.wrong)
        )
        calibrated = np.where(look.small[:, None], small, near)
        calibrated[:, MASK_WORN_INCORRECTLY] = wrong[:, MASK_WORN_INCORRECTLY]
        alone, both = (scores.max(axis=1, keepdims=True) for scores in (self.apply(score), calibrated))
        return np.where(look.small[:, None], calibrated, calibrated * np.sqrt(alone / both))

    def weights(self) -> FloatArray:
        """(4, 2, 3): the numbers of a `SecondOpinion`, for near and for small faces, for each label."""
        rows = [[opinion, opinion, self.wrong] for opinion in (self.near, self.small)]
        return np.array([[astuple(opinion) for opinion in row] for row in rows]).transpose(2, 0, 1)


def logit(score: npt.NDArray[np.floating]) -> FloatArray:
    """Log-odds of scores, which are kept off 0 and 1."""
    kept = np.clip(score.astype(np.float64), LEAST_SCORE, 1 - LEAST_SCORE)
    return np.log(kept / (1 - kept))


def sigmoid(x: FloatArray) -> FloatArray:
    """Scores of log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))


def calibrate(
    truths: Sequence[LabelledImage],
    found: Sequence[Detections],
    looks: Sequence[SecondLook] | None = None,
    *,
    target_error: float = 0.02,
) -> Calibration:
    """Fit to uncalibrated detections `found`, down to a low score, of held-out pictures.

    `looks` are the second stage's at the faces of each picture.

    The certainty threshold is the lowest at which at most `target_error` of the labels that are not
    `uncertain` are wrong. Without both right and wrong detections there is nothing to learn from, and the
    default is given.
    """
    seen = outcomes(truths, found)
    first_right = seen.label == seen.true_label
    if not _has_both(first_right):
        return Calibration()
    fitted = Calibration(*_platt(seen.label_scores.max(axis=1), first_right))
    if looks is None:
        calibrated = fitted.apply(seen.label_scores)
    else:
        pairs = list(zip(looks, seen.rows, strict=True))
        chances = np.concatenate([look.chances[rows] for look, rows in pairs])
        small = np.concatenate([look.small[rows] for look, rows in pairs])
        fitted = replace(
            fitted,
            small=_second(seen.label_scores[small], chances[small], seen.true_label[small]),
            near=_second(seen.label_scores[~small], chances[~small], seen.true_label[~small]),
        )
        calibrated = fitted.apply_both(seen.label_scores, SecondLook(chances, small))
    score, right = calibrated.max(axis=1), calibrated.argmax(axis=1) == seen.true_label
    on_faces = (score >= WORTH_REPORTING) & (seen.true_label >= 0)
    share = score[on_faces] / calibrated[on_faces].sum(axis=1)
    certainty, error = _certainty(share, right[on_faces], target_error)
    return replace(
        fitted,
        certainty_threshold=certainty,
        target_error=max(target_error, round(error, 3)),
        detections=len(score),
    )


def _has_both(right: npt.NDArray[np.bool_]) -> bool:
    return bool(right.any() and not right.all())


def _platt(score: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and shift of the likeliest map."""
    if not _has_both(right):
        return 1.0, 0.0
    scale, shift = _likeliest(np.stack([logit(score), np.ones(len(score))], axis=1), right, [1.0, 0.0])
    return max(scale, _LEAST_WEIGHT), shift


def _second(
    score: npt.NDArray[np.floating], chance: npt.NDArray[np.floating], true_label: npt.NDArray[np.int8]
) -> SecondOpinion:
    """The likeliest weights of both stages' scores (n, 3), for each face's best label by these weights."""
    start = [SecondOpinion.detector, SecondOpinion.refiner, SecondOpinion.shift]
    opinion = SecondOpinion(*start)
    for _ in range(_SECOND_ROUNDS):
        best = opinion.apply(score, chance).argmax(axis=1)
        if not _has_both(best == true_label):
            return opinion
        own = np.arange(len(best)), best
        design = np.stack([logit(score[own]), logit(chance[own]), np.ones(len(best))], axis=1)
        weights = _likeliest(design, best == true_label, start)
        opinion = SecondOpinion(*np.maximum(weights, [_LEAST_WEIGHT, 0.0, -np.inf]).tolist())
    return opinion


def _likeliest(design: FloatArray, right: npt.NDArray[np.bool_], start: Sequence[float]) -> list[float]:
    """Weights of a logistic regression, by Newton's method; a weak prior holds them near `start`."""
    middle = np.array(start)
    weights = middle.copy()
    for _ in range(_NEWTON_ROUNDS):
        expected = sigmoid(design @ weights)
        gradient = design.T @ (expected - right) + _PRIOR_WEIGHT * (weights - middle)
        curvature = (design * (expected * (1 - expected))[:, None]).T @ design
        step = np.linalg.solve(curvature + _PRIOR_WEIGHT * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return [float(weight) for weight in weights]


def _certainty(share: FloatArray, right: npt.NDArray[np.bool_], target_error: float) -> tuple[float, float]:
    """The lowest share, in steps of 0.01, at which at most `target_error` of the sure labels are wrong.

    An error is reckoned one standard error above what was seen (Wilson 1927), as the faces are few and the
    target is for pictures to come. Where none reaches the target, the share that costs least, by
    `DOUBT_COST`. Gives the share with its error.
    """
    choices = np.arange(round(100 * LEAST_CERTAINTY), 100) / 100
    sure = share >= choices[:, None]
    errors = np.array([_upper_error(~right[row]) for row in sure])
    costs = (sure & ~right).sum(axis=1) + DOUBT_COST * (~sure).sum(axis=1)
    best = int(np.argmax(errors <= target_error) if errors.min() <= target_error else np.argmin(costs))
    return float(choices[best]), float(errors[best])


def _upper_error(wrong: npt.NDArray[np.bool_]) -> float:
    """The upper end of Wilson's interval of one standard error for the share of `wrong`; 1 for none."""
    count, seen = len(wrong), float(wrong.sum())
    spread = np.sqrt(seen * (1 - seen / max(count, 1)) + 0.25)
    return float((seen + 0.5 + spread) / (count + 1))

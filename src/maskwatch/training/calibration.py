"""Make scores mean what they say: fitted on pictures kept out of training, written into the model.

A score is to be the share of such detections that are right (Guo et al. 2017). Platt's map
(Platt 1999), score → σ(scale · logit(score) + shift), is fitted to the held-out detections; as it
rises, it changes no ranking. Where there is a second stage, a pool of both ones' answers takes its place, and
is fitted in the same way, as is the threshold for `uncertain`. As such a score is a chance, what is reported
follows from what a missed face costs, and is the same for each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.evaluate import outcomes
from maskwatch.labels import MASK_WORN_INCORRECTLY, WITH_MASK, WITHOUT_MASK
from maskwatch.training.refiner import LEAST_CHANCE, MOST_CHANCE, NO_FACE

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
_LEAST_WEIGHT = 0.05
_PRIOR_WEIGHT = 4.0
"""How many made-up detections hold the map to the identity where there are few real ones."""


WRONG_SHIFT = -0.75
"""What the log of mask_worn_incorrectly's share is lowered by, as training shows such faces more often than
they are met (Saerens et al. 2002). Half of what cross-validation over the training photos' 137 asks for: a
mask worn wrong that is taken for another label warns nobody (docs/experiments.md)."""


@dataclass(frozen=True)
class Pool:
    """How both stages' answers make up a face's calibrated scores; the defaults are a guess.

    Whether there is a face is a matter of both stages' log-odds, and which label it has of both ones' shares,
    multiplied and made to add up to 1 again (a logarithmic opinion pool, Genest and Zidek 1986).

    Attributes:
        face_detector, face_refiner: weights of the log-odds of a face, by the detector's best score and by
            the second stage.
        face_shift: what is added to these.
        label_detector, label_refiner: exponents of the labels' scores.
        wrong_shift: what is added to the logarithm of mask_worn_incorrectly's share.
    """

    face_detector: float = 1.0
    face_refiner: float = 0.5
    face_shift: float = 0.0
    label_detector: float = 0.5
    label_refiner: float = 0.5
    wrong_shift: float = WRONG_SHIFT

    def apply(self, score: npt.NDArray[np.floating], logits: npt.NDArray[np.floating]) -> FloatArray:
        """Calibrated scores (n, 3) of the detector's (n, 3) and the second stage's logits (n, 4)."""
        seen = self.face_detector * logit(score.max(axis=1)) + self.face_refiner * logit(face_chance(logits))
        label = self.label_detector * log_score(score) + self.label_refiner * logits[:, :NO_FACE]
        label[:, MASK_WORN_INCORRECTLY] += self.wrong_shift
        return sigmoid(seen + self.face_shift)[:, None] * shares(label)


@dataclass(frozen=True)
class Calibration:
    """Platt's map and the thresholds that go with it; the default changes nothing.

    Attributes:
        scale, shift: of the map; `scale` is above 0.
        pool: what makes up scores where there is a second stage.
        score_threshold: faces from this calibrated score on are reported.
        certainty_threshold: a label with a smaller share of the label scores is `uncertain`.
        target_error: share of wrong labels that the certainty threshold lets through: what was asked for,
            or, where no threshold reaches that, the least that the held-out pictures bear out.
        detections: number of held-out detections it was fitted to; 0 for the default.
    """

    scale: float = 1.0
    shift: float = 0.0
    pool: Pool = Pool()
    score_threshold: float = WORTH_REPORTING
    certainty_threshold: float = 0.6
    target_error: float = 0.0
    detections: int = 0

    def apply(self, score: npt.NDArray[np.floating]) -> FloatArray:
        """Calibrated scores of raw ones."""
        return sigmoid(self.scale * logit(score) + self.shift)


def logit(score: npt.NDArray[np.floating]) -> FloatArray:
    """Log-odds of scores, which are kept off 0 and 1."""
    kept = np.clip(score.astype(np.float64), LEAST_SCORE, 1 - LEAST_SCORE)
    return np.log(kept / (1 - kept))


def log_score(score: npt.NDArray[np.floating]) -> FloatArray:
    """Logarithms of scores, which are kept off 0."""
    return np.log(np.maximum(score.astype(np.float64), LEAST_SCORE))


def face_chance(logits: npt.NDArray[np.floating]) -> FloatArray:
    """How likely there is a face (n,), by the second stage's logits (n, 4): kept off 0 and 1."""
    return np.clip(1 - shares(logits)[:, NO_FACE], LEAST_CHANCE, MOST_CHANCE)


def shares(logits: npt.NDArray[np.floating]) -> FloatArray:
    """What share each of the k classes has (n, k), by logits (n, k): softmax."""
    chances = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def sigmoid(x: FloatArray) -> FloatArray:
    """Scores of log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))


def calibrate(
    truths: Sequence[LabelledImage],
    found: Sequence[Detections],
    looks: Sequence[npt.NDArray[np.floating]] | None = None,
    *,
    target_error: float = 0.02,
) -> Calibration:
    """Fit to uncalibrated detections `found`, down to a low score, of held-out pictures.

    `looks` are the second stage's logits (n, 4) of the faces of each picture.

    The certainty threshold is the lowest at which at most `target_error` of the labels that are not
    `uncertain` are wrong. Without both right and wrong detections there is nothing to learn from, and the
    default is given.
    """
    seen = outcomes(truths, found)
    first_right = seen.label == seen.true_label
    if not _has_both(first_right):
        return Calibration()
    if looks is None:
        fitted = Calibration(*_platt(seen.label_scores.max(axis=1), first_right))
        calibrated = fitted.apply(seen.label_scores)
    else:
        logits = np.concatenate([look[rows] for look, rows in zip(looks, seen.rows, strict=True)])
        fitted = Calibration(pool=_pool(seen.label_scores, logits, seen.true_label))
        calibrated = fitted.pool.apply(seen.label_scores, logits)
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


def _pool(
    score: npt.NDArray[np.floating], logits: npt.NDArray[np.floating], true_label: npt.NDArray[np.int8]
) -> Pool:
    """The likeliest pool of both stages' answers, (n, 3) and (n, 4).

    Of mask_worn_incorrectly the held-out pictures have too few faces: how much either stage counts is told
    by the other two labels.
    """
    start = Pool()
    design = [logit(score.max(axis=1)), logit(face_chance(logits)), np.ones(len(score))]
    face = _likeliest(
        np.stack(design, axis=1), true_label >= 0, [start.face_detector, start.face_refiner, start.face_shift]
    )
    plain = (true_label == WITH_MASK) | (true_label == WITHOUT_MASK)
    against = [x[plain, WITH_MASK] - x[plain, WITHOUT_MASK] for x in (log_score(score), logits)]
    label = _likeliest(
        np.stack(against, axis=1),
        true_label[plain] == WITH_MASK,
        [start.label_detector, start.label_refiner],
    )
    least = [_LEAST_WEIGHT, 0.0, -np.inf, 0.0, 0.0]
    return Pool(*np.maximum([*face, *label], least).tolist())


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

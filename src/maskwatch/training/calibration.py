"""Make scores mean what they say: fitted on pictures kept out of training, written into the model.

A score is to be the share of such detections that are right (Guo et al. 2017). Platt's map
(Platt 1999), score → σ(scale · logit(score) + shift), is fitted to the held-out detections; as it
rises, it changes no ranking. The thresholds of the model card are taken from the same pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.evaluate import outcomes

FloatArray = npt.NDArray[np.float64]
LEAST_SCORE = 1e-4
"""Scores are kept this far from 0 and 1 before their logits are taken."""
LEAST_CERTAINTY = 0.6
"""A label with less than this share of the label scores is never sure, however few were wrong."""
_NEWTON_ROUNDS = 50
_F1_SPARE = 0.01
_PRIOR_WEIGHT = 4.0
"""How many made-up detections hold the map to the identity where there are few real ones."""


@dataclass(frozen=True)
class Calibration:
    """Platt's map and the thresholds that go with it; the default changes nothing.

    Attributes:
        scale, shift: of the map; `scale` is above 0.
        score_threshold: faces from this calibrated score on are reported.
        certainty_threshold: a label with a smaller share of the label scores is `uncertain`.
        target_error: share of wrong labels that the certainty threshold lets through: what was asked for,
            or, where no threshold reaches that, the least that the held-out pictures bear out.
        detections: number of held-out detections it was fitted to; 0 for the default.
    """

    scale: float = 1.0
    shift: float = 0.0
    score_threshold: float = 0.4
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


def sigmoid(x: FloatArray) -> FloatArray:
    """Scores of log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))


def calibrate(
    truths: Sequence[LabelledImage], found: Sequence[Detections], *, target_error: float = 0.02
) -> Calibration:
    """Fit to uncalibrated detections `found`, down to a low score, of held-out pictures.

    The score threshold is the lowest of those with nearly the best F1, as a face that is missed costs
    more than one too many; the certainty threshold the lowest at which at most `target_error` of the labels
    that are not `uncertain` are wrong. Without both right and wrong detections there is nothing to learn
    from, and the default is given.
    """
    seen = outcomes(truths, found)
    score, right = seen.label_scores.max(axis=1, initial=0), seen.label == seen.true_label
    if right.all() or not right.any():
        return Calibration()
    scale, shift = _platt(logit(score), right)
    fitted = Calibration(scale, shift)
    threshold = _good_f1(fitted.apply(score), right, seen.truths)
    on_faces = (fitted.apply(score) >= threshold) & (seen.true_label >= 0)
    calibrated = fitted.apply(seen.label_scores[on_faces])
    share = calibrated.max(axis=1, initial=0) / calibrated.sum(axis=1)
    certainty, error = _certainty(share, right[on_faces], target_error)
    return Calibration(
        scale=scale,
        shift=shift,
        score_threshold=threshold,
        certainty_threshold=certainty,
        target_error=max(target_error, round(error, 3)),
        detections=len(score),
    )


def _platt(x: FloatArray, right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and shift of the likeliest map, by Newton's method; a weak prior holds them near 1 and 0."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    weights = np.array([1.0, 0.0])
    start = weights.copy()
    for _ in range(_NEWTON_ROUNDS):
        expected = sigmoid(design @ weights)
        gradient = design.T @ (expected - right) + _PRIOR_WEIGHT * (weights - start)
        curvature = (design * (expected * (1 - expected))[:, None]).T @ design + _PRIOR_WEIGHT * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return max(float(weights[0]), 0.05), float(weights[1])


def _good_f1(score: FloatArray, right: npt.NDArray[np.bool_], truths: int) -> float:
    """The lowest score, in steps of 0.05, from which detections have an F1 within `_F1_SPARE` of the best."""
    choices = np.arange(1, 20) / 20
    kept = [score >= choice for choice in choices]
    f1 = np.array([2 * (right & keep).sum() / max(keep.sum() + truths, 1) for keep in kept])
    return float(choices[int(np.argmax(f1 >= f1.max() - _F1_SPARE))])


def _certainty(share: FloatArray, right: npt.NDArray[np.bool_], target_error: float) -> tuple[float, float]:
    """The lowest share, in steps of 0.01, at which at most `target_error` of the sure labels are wrong.

    An error is reckoned one standard error above what was seen (Wilson 1927), as the faces are few and the
    target is for pictures to come. Gives the share with its error; where none reaches the target, the
    lowest with the least error.
    """
    choices = np.arange(round(100 * LEAST_CERTAINTY), 100) / 100
    errors = np.array([_upper_error(~right[share >= choice]) for choice in choices])
    enough = errors <= max(target_error, errors.min())
    best = int(np.argmax(enough))
    return float(choices[best]), float(errors[best])


def _upper_error(wrong: npt.NDArray[np.bool_]) -> float:
    """The upper end of Wilson's interval of one standard error for the share of `wrong`; 1 for none."""
    count, seen = len(wrong), float(wrong.sum())
    spread = np.sqrt(seen * (1 - seen / max(count, 1)) + 0.25)
    return float((seen + 0.5 + spread) / (count + 1))

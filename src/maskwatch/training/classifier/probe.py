"""How much a score gains by near-duplicates on both sides of a split: two splits, same features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwatch.class_folders import leaks, split
from maskwatch.training.classifier.features import Features

SEEDS = 5


@dataclass(frozen=True)
class SplitEffect:
    """Mean accuracies of a linear probe over several splits.

    Attributes:
        plain, together: with near-duplicates left to chance, and kept on one side.
        leaks: test pictures with a near-duplicate in the training part of a plain split, on average.
        splits: how many splits of each kind were averaged.
    """

    plain: float
    together: float
    leaks: float
    splits: int = SEEDS


def split_effect(
    features: Features,
    targets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    share: float,
    seed: int,
) -> SplitEffect:
    """Measure both kinds of split on features (n, d) of unvaried pictures."""
    singles = np.arange(len(targets))
    plain, together, leaked = [], [], []
    for number in range(SEEDS):
        out = split(targets, singles, share, seed + number)
        leaked.append(leaks(out, groups))
        plain.append(linear_accuracy(features, targets, out))
        together.append(linear_accuracy(features, targets, split(targets, groups, share, seed + number)))
    return SplitEffect(float(np.mean(plain)), float(np.mean(together)), float(np.mean(leaked)))


def linear_accuracy(
    features: Features, targets: npt.NDArray[np.int64], out: npt.NDArray[np.bool_], *, ridge: float = 1.0
) -> float:
    """Share of the kept-out rows that a ridge classifier, fitted on the others, gets right."""
    train, test = features[~out].astype(np.float64), features[out].astype(np.float64)
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (train - mean) / scale, (test - mean) / scale
    wanted = np.where(targets[~out][:, None] == np.unique(targets)[None], 1.0, -1.0)
    offset = wanted.mean(axis=0)
    weight = ridge * len(train) / 10
    kernel = train @ train.T
    solved = np.linalg.solve(kernel + weight * np.eye(len(train)), wanted - offset)
    scores = test @ (train.T @ solved) + offset
    return float((np.unique(targets)[scores.argmax(axis=1)] == targets[out]).mean())

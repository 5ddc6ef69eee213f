"""Train the head, epoch by epoch; every epoch is kept, so that a run can go on where it was cut off."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch.errors import TrainingError
from maskwatch.files import LARGEST_TEXT_BYTES, read_json, saving, write_whole
from maskwatch.training.classifier.config import ClassifierConfig
from maskwatch.training.classifier.features import Features
from maskwatch.training.classifier.network import load_keras, make_head
from maskwatch.training.hdf5 import check_state_file

Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch; `number` counts from 1."""

    number: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass(frozen=True)
class HeadData:
    """What the head learns from.

    Attributes:
        features_of: features (n, d) of the training pictures, varied for the epoch given.
        classes: (n,) their classes.
        val_features, val_classes: the pictures that the curves are measured on.
        weights: (k,) what a picture of each class counts.
    """

    features_of: Callable[[int], Features]
    classes: Classes
    val_features: Features
    val_classes: Classes
    weights: npt.NDArray[np.float32]


def train_head(
    data: HeadData,
    config: ClassifierConfig,
    folder: Path,
    key: str,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[Any, list[Epoch]]:
    """The trained head and its history; goes on from `folder` where a run of the same `key` lies there.

    With `patience`, the head of the best epoch is given back.

    Raises:
        TrainingError: the folder holds another run, or the loss is no number any more.
    """
    head, history = _resume(folder, key)
    if head is None:
        classes = len(data.weights)
        head = make_head(data.val_features.shape[1], classes, config)
    while len(history) < config.epochs and not _is_over(history, config.patience):
        started = time.monotonic()
        number = len(history)
        order = np.random.default_rng((config.seed, number, 7)).permutation(len(data.classes))
        features, classes_ = data.features_of(number)[order], data.classes[order]
        fitted = head.fit(
            features,
            classes_,
            batch_size=config.batch_size,
            shuffle=False,
            verbose=0,
            sample_weight=data.weights[classes_],
        ).history
        val_loss, val_accuracy = head.evaluate(data.val_features, data.val_classes, verbose=0)
        epoch = Epoch(
            number + 1,
            float(fitted["loss"][0]),
            float(fitted["accuracy"][0]),
            float(val_loss),
            float(val_accuracy),
            time.monotonic() - started,
        )
        if not math.isfinite(epoch.loss):
            raise TrainingError("the loss is no number any more; lower --learning-rate")
        history.append(epoch)
        _keep(folder, key, head, history)
        report(epoch)
    if config.patience and (folder / "best.keras").is_file():
        head = _load(folder / "best.keras", compile=False)
    return head, history


def _is_over(history: list[Epoch], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing."""
    if not patience or len(history) <= patience:
        return False
    best = min(range(len(history)), key=lambda row: history[row].val_loss)
    return len(history) - 1 - best >= patience


def _keep(folder: Path, key: str, head: Any, history: list[Epoch]) -> None:
    """Write head and history so that a crash leaves the old pair or the new one."""
    last = min(history, key=lambda epoch: epoch.val_loss)
    names = ["best.keras"] if last is history[-1] else []
    for name in (*names, f"head-{len(history)}.keras"):
        with saving(folder / name, sync=True, ending=".partial.keras") as partial:
            head.save(partial)
    content = {"key": key, "history": [asdict(epoch) for epoch in history]}
    write_whole(folder / "state.json", json.dumps(content), sync=True)
    for old in folder.glob("head-*.keras"):
        if old.name != f"head-{len(history)}.keras":
            old.unlink()


def _resume(folder: Path, key: str) -> tuple[Any, list[Epoch]]:
    state = folder / "state.json"
    if not state.is_file():
        return None, []
    try:
        content = read_json(state, LARGEST_TEXT_BYTES)
        history = [Epoch(**row) for row in content["history"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{state}: damaged ({error}); delete the folder and start again") from error
    if content["key"] != key:
        raise TrainingError(
            f"{folder.parent}: holds a run with other pictures, options or weights; name another folder with "
            "--output, or delete it"
        )
    return _load(folder / f"head-{len(history)}.keras"), history


def _load(path: Path, **options: bool) -> Any:
    """One of this run's own files; whoever can write there must not run code by it."""
    check_state_file(path)
    return load_keras().models.load_model(path, safe_mode=True, **options)

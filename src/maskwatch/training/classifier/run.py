"""One classifier run: from class folders to a Keras file, its ONNX export and its report."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch._version import __version__
from maskwatch.class_folders import ClassFolders, leaks, read_class_folders, split
from maskwatch.classifier import Classifier
from maskwatch.classifier_card import DEFAULT_MARGIN, ClassifierCard
from maskwatch.files import saving, write_whole
from maskwatch.training.classifier import network
from maskwatch.training.classifier.config import ClassifierConfig
from maskwatch.training.classifier.convert import build, write_onnx
from maskwatch.training.classifier.features import Features, FrozenBackbone, PictureStore, plain_features
from maskwatch.training.classifier.keras_file import read_keras
from maskwatch.training.classifier.loop import Epoch, HeadData, train_head
from maskwatch.training.classifier.meaning import class_labels
from maskwatch.training.classifier.probe import split_effect
from maskwatch.training.classifier.report import (
    Scores,
    card_text,
    plot,
    report_text,
    write_mistakes,
    write_split,
)


@dataclass(frozen=True)
class Says:
    """Where a run tells how it goes on.

    Attributes:
        looked_through: the data's report (see `ClassFolders.report`).
        working: what is being done, how many of how many.
        epoch: figures of an epoch that is over.
    """

    looked_through: Callable[[dict[str, Any]], None] = lambda report: None
    working: Callable[[str, int, int], None] = lambda what, done, total: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


@dataclass(frozen=True)
class ClassifierPaths:
    """The files of one run."""

    folder: Path
    model: Path
    plot: Path

    @classmethod
    def below(cls, folder: Path) -> ClassifierPaths:
        """The usual names in one folder."""
        return cls(folder, folder / "mask_detector.keras", folder / "plot.png")

    @property
    def onnx(self) -> Path:
        """The export, beside the Keras model."""
        return self.model.with_suffix(".onnx")

    @property
    def state(self) -> Path:
        """What is needed to go on: the head of the last epoch, features."""
        return self.folder / "state"


@dataclass(eq=False)
class _Parts:
    """Pictures of a run by their part; `val` is `test` unless early stopping needs its own."""

    data: ClassFolders
    out: npt.NDArray[np.bool_]
    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def run(
    folder: Path,
    paths: ClassifierPaths,
    config: ClassifierConfig | None = None,
    *,
    weights: str | Path | None = None,
    labels: dict[str, str] | None = None,
    says: Says | None = None,
) -> dict[str, Any]:
    """Train on `folder` (one subfolder a class) and write everything; the report as plain values.

    Goes on where a run of the same pictures and options was cut off. `labels` says which of our
    labels a class means where its name does not.

    Raises:
        DatasetError, TrainingError, MissingExtraError, OptionError: as their messages say.
    """
    config, says = config or ClassifierConfig(), says or Says()
    started = time.monotonic()
    network.load_keras()
    data = read_class_folders(folder, report=lambda done, total: says.working("looking through", done, total))
    of_class = class_labels(data.classes, labels)
    found = data.report()
    says.looked_through(found)
    parts = _divide(data, config)
    paths.state.mkdir(parents=True, exist_ok=True)
    base = network.make_backbone(config, weights)
    backbone = FrozenBackbone(network.as_file(network.pooled(base)))
    store = PictureStore([picture.path for picture in data.pictures], config.size_px)
    plain = plain_features(
        backbone,
        store,
        config,
        paths.state / "features.npz",
        data.fingerprint + ":".join(str(picture.path.name) for picture in data.pictures),
        lambda done, total: says.working("features", done, total),
    )
    key = _key(data, config, backbone.digest)
    head, history = train_head(
        _head_data(parts, config, backbone, store, plain, says), config, paths.state, key, says.epoch
    )
    model = network.joined(base, head)
    if config.fine_tune_blocks:
        _fine_tune(model, parts, store, config, says, len(history))
    with saving(paths.model, sync=True, ending=f".partial{paths.model.suffix}") as partial:
        model.save(partial)
    report: dict[str, Any] = {
        "name": paths.model.stem,
        "command": " ".join(["maskwatch", *sys.argv[1:]]),
        "config": config.to_dict(),
        "data": found,
        "split": {
            "train": len(parts.train),
            "test": len(parts.test),
            "leaks": leaks(parts.out, data.groups),
        },
        "versions": _versions(),
        "history": [asdict(epoch) for epoch in history],
    }
    if found["near_duplicates"]:
        effect = split_effect(plain, data.targets, data.groups, config.test_share, config.seed)
        report["split"]["effect"] = asdict(effect)
    report["time"] = {
        "epochs": len(history),
        "epoch_s": float(np.median([epoch.seconds for epoch in history])),
        "total_s": time.monotonic() - started,
    }
    _finish(paths, parts, of_class, report, store)
    plot(history, paths.plot)
    return report


def _divide(data: ClassFolders, config: ClassifierConfig) -> _Parts:
    groups = data.groups if config.keep_alike_together else np.arange(len(data.pictures))
    out = split(data.targets, groups, config.test_share, config.seed)
    train, test = np.flatnonzero(~out), np.flatnonzero(out)
    val = test
    if config.patience:
        kept = split(data.targets[train], groups[train], 0.1, config.seed)
        train, val = train[~kept], train[kept]
    return _Parts(data, out, train, val, test)


def _head_data(
    parts: _Parts,
    config: ClassifierConfig,
    backbone: FrozenBackbone,
    store: PictureStore,
    plain: Features,
    says: Says,
) -> HeadData:
    targets = parts.data.targets
    classes = targets[parts.train]
    counts = np.bincount(classes, minlength=len(parts.data.classes))
    weights = len(classes) / (len(counts) * np.maximum(counts, 1)) if config.balance else np.ones(len(counts))

    def features_of(epoch: int) -> Features:
        if not config.augment:
            return plain[parts.train]
        words = f"epoch {epoch + 1}/{config.epochs}"
        rows = parts.train.tolist()
        report = lambda done, total: says.working(words, epoch * total + done, config.epochs * total)  # noqa: E731
        return backbone.features(store, rows, config, epoch=epoch, report=report)

    return HeadData(features_of, classes, plain[parts.val], targets[parts.val], weights.astype(np.float32))


def _fine_tune(
    model: Any, parts: _Parts, store: PictureStore, config: ClassifierConfig, says: Says, before: int
) -> None:
    from maskwatch.training.classifier.augment import vary

    targets = parts.data.targets
    total = config.fine_tune_epochs * len(parts.train)

    def batches(epoch: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
        rng = np.random.default_rng((config.seed, 1000 + epoch))
        order = rng.permutation(parts.train)
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            images = [store[int(row)] for row in rows]
            if config.augment:
                images = [vary(image, config, rng) for image in images]
            yield np.stack(images), targets[rows]
            says.working("fine-tuning", epoch * len(order) + start + len(rows), total)

    began = time.monotonic()

    def report(number: int, loss: float, accuracy: float) -> None:
        nonlocal began
        seconds, began = time.monotonic() - began, time.monotonic()
        says.epoch(Epoch(before + number, loss, accuracy, float("nan"), float("nan"), seconds))

    network.fine_tune(model, batches, config, report)


def _finish(
    paths: ClassifierPaths,
    parts: _Parts,
    labels: tuple[str, ...],
    report: dict[str, Any],
    store: PictureStore,
) -> None:
    """Export, measure the export (what is shipped is what is measured), and write it all down."""
    data, config = parts.data, report["config"]
    keras_file = read_keras(paths.model)
    graph = build(keras_file)
    card = ClassifierCard(
        name=report["name"],
        classes=data.classes,
        labels=labels,
        size_wh=(config["size_px"], config["size_px"]),
        margin=DEFAULT_MARGIN,
        parameters=keras_file.parameters,
        trained_on=f"{len(parts.train)} pictures of {data.root.name}, maskwatch {__version__}",
        license="that of its training pictures",
    )
    write_onnx(graph, card, paths.onnx)
    measured = Classifier(paths.onnx)
    probabilities = measured.probabilities([store[int(row)] for row in parts.test])
    scores = Scores.of(data.classes, data.targets[parts.test], probabilities.argmax(axis=1))
    report["test"] = scores.to_dict()
    card = ClassifierCard(**{**asdict(card), "accuracy": round(scores.accuracy, 6)})
    write_onnx(graph, card, paths.onnx)
    report["mistakes"] = write_mistakes(data, parts.test, probabilities, paths.folder / "mistakes.jpg")
    write_split(data, parts.out, paths.folder / "split.csv")
    for name, text in (
        ("config.json", json.dumps(config, indent=1) + "\n"),
        ("report.json", json.dumps(report, indent=1) + "\n"),
        ("report.md", report_text(report)),
        ("MODEL_CARD.md", card_text(report, paths.onnx.name)),
    ):
        write_whole(paths.folder / name, text)


def _key(data: ClassFolders, config: ClassifierConfig, digest: str) -> str:
    """What a run must share with an earlier one to go on from it."""
    chosen = config.to_dict()
    for later in ("fine_tune_blocks", "fine_tune_epochs", "fine_tune_rate"):
        del chosen[later]
    return hashlib.sha256(f"{data.fingerprint} {chosen} {digest}".encode()).hexdigest()


def _versions() -> dict[str, str]:
    keras = network.load_keras()
    return {
        "maskwatch": __version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
    }

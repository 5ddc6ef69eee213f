"""The Keras side: backbone, head, both joined, and what is left of training when they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch.errors import MissingExtraError, ModelError, TrainingError
from maskwatch.training.classifier.config import ClassifierConfig
from maskwatch.training.classifier.keras_file import KerasFile, read_keras
from maskwatch.training.hdf5 import check_weights_file

LAST_BLOCK = 17
"""MobileNetV2's last convolution counts as a block of its own behind the 16 that have numbers."""


def load_keras() -> Any:
    """Keras on the backend that KERAS_BACKEND names, PyTorch by default.

    Raises:
        MissingExtraError: Keras or its backend is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
    except ImportError as error:
        backend = os.environ["KERAS_BACKEND"]
        if getattr(error, "name", "keras") not in (None, "keras"):
            raise MissingExtraError(
                f"Keras cannot use the backend {backend} ({error}); install it, or unset KERAS_BACKEND"
            ) from error
        raise MissingExtraError.for_extra("training", "Keras", "train") from error
    return keras


def make_backbone(config: ClassifierConfig, weights: str | Path | None) -> Any:
    """MobileNetV2 without its top; `weights`: "imagenet" (downloads), "random", or a file.

    Raises:
        TrainingError: the weights cannot be fetched or do not fit.
    """
    keras = load_keras()
    keras.utils.set_random_seed(config.seed)
    shape = (config.size_px, config.size_px, 3)
    download = "imagenet" if weights in (None, "imagenet") else None
    try:
        backbone = keras.applications.MobileNetV2(
            input_shape=shape, alpha=config.alpha, include_top=False, weights=download
        )
    except Exception as error:  # urllib, ssl and Keras each raise their own
        raise TrainingError(
            f"Keras could not fetch its ImageNet weights ({error}); name a file with --weights"
        ) from error
    if download is None and weights != "random":
        if not Path(str(weights)).is_file():
            raise TrainingError(f"{weights}: no such file; --weights takes MobileNetV2 weights of Keras")
        try:
            check_weights_file(Path(str(weights)))
            backbone.load_weights(str(weights))
        except (ModelError, ValueError, OSError, KeyError) as error:
            reason = str(error).split("\n")[0]
            raise TrainingError(
                f"{weights}: no weights of MobileNetV2 without top, width {config.alpha:g} ({reason}); "
                "take others"
            ) from error
    backbone.trainable = False
    return backbone


def pooled(backbone: Any) -> Any:
    """The backbone with the tutorial's average pooling and flattening behind it."""
    keras = load_keras()
    side = backbone.output.shape[1]
    x = keras.layers.AveragePooling2D(pool_size=(side, side))(backbone.output)
    return keras.Model(backbone.input, keras.layers.Flatten(name="flatten")(x))


def make_head(features: int, classes: int, config: ClassifierConfig) -> Any:
    """Dense, ReLU, dropout, softmax on pooled features, compiled with the tutorial's optimiser."""
    keras = load_keras()
    keras.utils.set_random_seed(config.seed)
    head = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(config.dense_units, activation="relu", name="dense"),
            keras.layers.Dropout(config.dropout, seed=config.seed, name="dropout"),
            keras.layers.Dense(classes, activation="softmax", name="probabilities"),
        ]
    )
    rate = keras.optimizers.schedules.InverseTimeDecay(
        config.learning_rate, decay_steps=1, decay_rate=config.learning_rate / config.epochs
    )
    head.compile(
        optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return head


def joined(backbone: Any, head: Any) -> Any:
    """One model from picture to probabilities, with the head's weights, layer by layer as the tutorial's."""
    keras = load_keras()
    base = pooled(backbone)
    x = base.output
    for layer in head.layers:
        x = type(layer).from_config(layer.get_config())(x)
    model = keras.Model(base.input, x, name="mask_detector")
    for layer in head.layers:
        if layer.name != "dropout":
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def as_file(model: Any) -> KerasFile:
    """A live model as it would be read back from disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return read_keras(path)


def unfreeze(model: Any, blocks: int) -> int:
    """Let the last `blocks` blocks learn, batch norms left as they are; how many layers that is."""
    first = LAST_BLOCK + 1 - blocks
    learning = 0
    for layer in model.layers:
        name = layer.name
        number = LAST_BLOCK if name.startswith(("Conv_1", "out_")) else -1
        if name.startswith("block_"):
            number = int(name.split("_")[1])
        of_head = name in ("dense", "dropout", "probabilities")
        norm = type(layer).__name__ == "BatchNormalization"
        layer.trainable = of_head or (number >= first and not norm)
        learning += bool(layer.trainable and layer.weights)
    return learning


def fine_tune(
    model: Any,
    batches: Callable[[int], Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]],
    config: ClassifierConfig,
    report: Callable[[int, float, float], None],
) -> None:
    """Train the last blocks and the head for some epochs; `batches(epoch)` gives pictures and classes.

    `report` hears the epoch (from 1), loss and accuracy.
    """
    keras = load_keras()
    unfreeze(model, config.fine_tune_blocks)
    model.compile(
        optimizer=keras.optimizers.Adam(config.fine_tune_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    for epoch in range(config.fine_tune_epochs):
        losses, hits, count = 0.0, 0.0, 0
        for images, classes in batches(epoch):
            x = images.astype(np.float32) / 127.5 - 1
            loss, accuracy = model.train_on_batch(x, classes, return_dict=False)
            model.reset_metrics()
            losses, hits = losses + float(loss) * len(x), hits + float(accuracy) * len(x)
            count += len(x)
        report(epoch + 1, losses / max(1, count), hits / max(1, count))

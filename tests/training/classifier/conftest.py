"""Class folders drawn from the astronaut, and tiny Keras models."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason="training needs the extra `train`")
pytest.importorskip("h5py", reason="training needs the extra `train`")


@pytest.fixture(scope="session")
def class_folder(tmp_path_factory, astronaut, masked) -> Path:
    """Two classes of 16 different crops each, one file that is no picture, one exact duplicate."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(5)
    for name, source in (("with_mask", masked), ("without_mask", astronaut)):
        (folder / name).mkdir()
        for number in range(16):
            side = int(rng.integers(80, 230))
            left, top = (int(value) for value in rng.integers(5, 200, size=2))
            crop = PIL.Image.fromarray(source[top : top + side, left : left + side])
            crop.rotate(float(rng.uniform(-40, 40))).resize((96, 96)).save(folder / name / f"{number}.png")
    (folder / "with_mask" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    copy = (folder / "without_mask" / "3.png").read_bytes()
    (folder / "without_mask" / "copy-of-3.png").write_bytes(copy)
    return folder


@pytest.fixture(scope="session")
def keras_model():
    """A model with every layer that the reader knows, and weights that are not symmetric."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    picture = keras.Input((33, 31, 3))
    x = layers.Rescaling(1 / 2, offset=0.1)(picture)
    x = layers.ZeroPadding2D(((0, 1), (1, 2)))(x)
    x = layers.Conv2D(8, 3, strides=2, padding="valid", use_bias=False)(x)
    x = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="silu")(x)
    y = layers.BatchNormalization(scale=False)(y)
    x = layers.Concatenate()([layers.Add()([x, y]), x])
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu6")(x)
    x = layers.MaxPooling2D(2)(layers.Dropout(0.3)(x))
    x = layers.AveragePooling2D(2, strides=1, padding="same")(x)
    inner = keras.Sequential([keras.Input((4, 4, 6)), layers.Conv2D(5, 1), layers.Activation("tanh")])
    x = layers.Flatten()(inner(x))
    x = layers.Dense(7, activation="elu")(x)
    model = keras.Model(picture, layers.Softmax()(layers.Dense(3)(x)))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        near_one = "variance" in weight.path or "gamma" in weight.path
        drawn = rng.uniform(0.5, 1.5, weight.shape) if near_one else rng.normal(0, 0.35, weight.shape)
        weight.assign(drawn.astype(np.float32))
    return model

"""Keras files read without Keras: the same answers as Keras, and nothing in them is run."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import onnxruntime
import pytest

from maskwatch.errors import ModelError
from maskwatch.training.classifier.convert import build
from maskwatch.training.classifier.keras_file import read_keras

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",  # Keras 3.15 on PyTorch with NumPy 2.4
    "ignore:.*HDF5 file.*:UserWarning",
)


def answers(path, images, **options):
    graph = build(read_keras(path), **options)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_every_known_layer_answers_as_in_keras(keras_model, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    keras_model.save(path)
    images = np.random.default_rng(1).integers(0, 256, (5, 33, 31, 3), dtype=np.uint8)
    wanted = keras_model.predict(images.astype(np.float32) / 127.5 - 1, verbose=0)
    got = answers(path, images)
    assert wanted.std(axis=0).max() > 1e-3  # else anything would agree
    np.testing.assert_allclose(got, wanted, atol=2e-5)
    plain = keras_model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(answers(path, images, input_range="0..255"), plain, atol=2e-5)
    assert read_keras(path).parameters == keras_model.count_params()


def old_file(path, kind="Dense", name="out", **more):
    """An HDF5 file as Keras 2 wrote the tutorial's model."""
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(3, 3, 3, 1)).astype(np.float32)
    last = rng.normal(size=(3, 2)).astype(np.float32)
    norm = {
        "gamma": np.array([1.0, 2.0, 0.5], np.float32),
        "beta": np.array([0.1, -0.2, 0.3], np.float32),
        "moving_mean": np.array([0.5, 0.0, -0.5], np.float32),
        "moving_variance": np.array([1.0, 0.5, 2.0], np.float32),
    }
    common = {"trainable": True, "dtype": "float32"}
    depthwise = {"kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "use_bias": False, "groups": 1}
    layers = [
        ("InputLayer", "in", {"batch_input_shape": [None, 8, 8, 3]}, []),
        (
            "DepthwiseConv2D",
            "dw",
            {**depthwise, "data_format": "channels_last", "activation": "linear"},
            ["in"],
        ),
        ("BatchNormalization", "bn", {"axis": [3], "epsilon": 0.001, "scale": True, "center": True}, ["dw"]),
        ("GlobalAveragePooling2D", "pool", {"data_format": "channels_last"}, ["bn"]),
        (kind, name, {"units": 2, "activation": "softmax", "use_bias": False, **more}, ["pool"]),
    ]
    entries = [
        {
            "class_name": kind_,
            "name": name_,
            "config": {**common, **config, "name": name_},
            "inbound_nodes": [[[one, 0, 0, {}] for one in inputs]] if inputs else [],
        }
        for kind_, name_, config, inputs in layers
    ]
    config = {
        "name": "model_1",
        "layers": entries,
        "input_layers": [["in", 0, 0]],
        "output_layers": [[name, 0, 0]],
    }
    weights = {
        "dw": {"dw/depthwise_kernel:0": kernel},
        "bn": {f"bn/{key}:0": value for key, value in norm.items()},
        name: {f"{name}/kernel:0": last},
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.4.0"
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        for layer in ("in", "dw", "bn", "pool", name):
            group = file.create_group(f"model_weights/{layer}")
            group.attrs["weight_names"] = [key.encode() for key in weights.get(layer, {})]
            for key, value in weights.get(layer, {}).items():
                group[key] = value
    return kernel, norm, last


def test_a_file_of_old_keras_is_read(tmp_path):
    path = tmp_path / "mask_detector.model"
    kernel, norm, last = old_file(path)
    images = np.random.default_rng(4).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    x = np.pad(images / 127.5 - 1, ((0, 0), (0, 1), (0, 1), (0, 0)))  # "same" with stride 2 pads the end
    maps = np.zeros((2, 4, 4, 3))
    for row in range(4):
        for column in range(4):
            window = x[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            maps[:, row, column] = (window * kernel[..., 0]).sum(axis=(1, 2))
    scale = norm["gamma"] / np.sqrt(norm["moving_variance"] + 0.001)
    logits = ((maps - norm["moving_mean"]) * scale + norm["beta"]).mean(axis=(1, 2)) @ last
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers(path, images), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("Lambda", "holds code"), ("TFOpLambda", "holds code"), ("MyLayer", "class MyLayer is not understood")],
)
def test_layers_with_code_are_refused_by_name(tmp_path, kind, words):
    path = tmp_path / "evil.h5"
    old_file(path, kind=kind, function="touch /tmp/x")
    with pytest.raises(ModelError, match=words) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)


def test_a_foreign_module_is_refused(keras_model, tmp_path):
    path, evil = tmp_path / "model.keras", tmp_path / "evil.keras"
    keras_model.save(path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(evil, "w") as changed:
        config = json.loads(archive.read("config.json"))
        dense = next(one for one in config["config"]["layers"] if one["class_name"] == "Dense")
        dense["module"] = "os"
        changed.writestr("config.json", json.dumps(config))
        changed.writestr("model.weights.h5", archive.read("model.weights.h5"))
    with pytest.raises(ModelError, match="class Dense is not understood"):
        read_keras(evil)


def test_links_out_of_the_file_are_not_followed(tmp_path):
    path = tmp_path / "linked.h5"
    old_file(path)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((3, 2), np.float32)
    with h5py.File(path, "a") as file:
        del file["model_weights/out/out/kernel:0"]
        file["model_weights/out/out/kernel:0"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(ModelError, match="a link that leads elsewhere"):
        read_keras(path)


def test_what_is_no_keras_file_is_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ModelError, match=r"neither a \.keras nor an HDF5 file"):
        read_keras(tmp_path / "text.h5")
    with pytest.raises(ModelError, match=r"none\.keras: cannot be read"):
        read_keras(tmp_path / "none.keras")
    with pytest.raises(ModelError, match="SavedModel"):
        read_keras(tmp_path)
    with zipfile.ZipFile(tmp_path / "cut.keras", "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelError, match="damaged Keras file"):
        read_keras(tmp_path / "cut.keras")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(ModelError, match="weights without a layout"):
        read_keras(tmp_path / "weights.h5")
    old_file(tmp_path / "odd.h5", activation="mish")
    with pytest.raises(ModelError, match="activation mish is not understood"):
        build(read_keras(tmp_path / "odd.h5"))

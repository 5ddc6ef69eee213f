"""Read Keras files (`.keras`, `.h5` and the tutorial's `.model`) without running anything in them.

Keras itself rebuilds layers by name, which has been used to run code (CVE-2025-1550, CVE-2025-9906,
Lambda layers). Here the layout is read as JSON, the weights as bare arrays, and only layers of a
fixed list are understood; the rest is refused by name.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from maskwatch.errors import MissingExtraError, ModelError
from maskwatch.files import check_ordinary
from maskwatch.training.hdf5 import DAMAGE, LARGEST_CONFIG_BYTES, StoredArrays

LARGEST_BYTES = 2 * 2**30
CONTAINERS: Final = frozenset({"Functional", "Model", "Sequential"})
IDENTITIES: Final = frozenset(
    {
        "Dropout",
        "SpatialDropout2D",
        "GaussianNoise",
        "GaussianDropout",
        "ActivityRegularization",
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomTranslation",
        "RandomShear",
        "RandomBrightness",
        "RandomContrast",
    }
)
"""Layers that do nothing once training is over."""
KNOWN: Final = IDENTITIES | {
    "InputLayer",
    "Conv2D",
    "DepthwiseConv2D",
    "BatchNormalization",
    "Dense",
    "ReLU",
    "Softmax",
    "Activation",
    "Rescaling",
    "ZeroPadding2D",
    "Add",
    "Concatenate",
    "AveragePooling2D",
    "MaxPooling2D",
    "GlobalAveragePooling2D",
    "Flatten",
}
RUNS_CODE: Final = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class KerasLayer:
    """One layer: its name, class, options, the layers it takes its inputs from, its weights by name."""

    name: str
    kind: str
    config: dict[str, Any]
    inputs: tuple[str, ...]
    weights: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class KerasFile:
    """A model with one input and one output.

    Attributes:
        layers: flat, in an order in which every layer comes after its inputs.
        output: name of the last layer.
        size_wh: width and height of its pictures in px, or None where the file leaves them open.
    """

    layers: tuple[KerasLayer, ...]
    output: str
    size_wh: tuple[int, int] | None

    @property
    def parameters(self) -> int:
        """How many numbers it learnt."""
        return sum(array.size for layer in self.layers for array in layer.weights.values())


def read_keras(path: Path) -> KerasFile:
    """Read a model file.

    Raises:
        ModelError: it is missing, damaged, holds code, or has layers that are not understood.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.for_extra("reading Keras files", "h5py", "train") from error
    try:
        if path.is_dir():
            raise ModelError(
                f"{path}: a folder (SavedModel) may hold code and is not read; save it as .keras or .h5"
            )
        check_ordinary(path)
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"{path}: larger than {LARGEST_BYTES:,} bytes; that is no classifier")
        if zipfile.is_zipfile(path):
            layout, weights = _open_zip(path)
        elif h5py.is_hdf5(path):
            file = h5py.File(path, "r")
            if "model_config" not in file.attrs:
                raise ModelError(f"{path}: weights without a layout; save the whole model (model.save)")
            if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
                raise ModelError(f"{path}: its weights lie elsewhere, or nowhere; save the model again")
            layout, weights = json.loads(file.attrs["model_config"]), _legacy_weights(file["model_weights"])
        else:
            raise ModelError(f"{path}: neither a .keras nor an HDF5 file; save the model with Keras first")
        return _model(path, layout, weights)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); check the path") from error
    except DAMAGE as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(f"{path}: a damaged Keras file ({what}); save the model again") from error


WeightSource = Callable[[tuple[tuple[str, str], ...], dict[str, Any], str], dict[str, Array]]
"""Trail of (class-based name, own name) down to a layer, its options, its class → its weights."""


def _open_zip(path: Path) -> tuple[dict[str, Any], WeightSource]:
    import h5py

    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
            raise ModelError(f"{path}: unpacks to more than {LARGEST_BYTES:,} bytes; that is no classifier")
        if archive.getinfo("config.json").file_size > LARGEST_CONFIG_BYTES:
            raise ModelError(f"{path}: its layout is larger than {LARGEST_CONFIG_BYTES:,} bytes")
        layout = json.loads(archive.read("config.json"))
        arrays = StoredArrays(h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r"))

    def weights(trail: tuple[tuple[str, str], ...], config: dict[str, Any], kind: str) -> dict[str, Array]:
        place = "/".join(f"layers/{by_class}" for by_class, _ in trail) + "/vars"
        names = _variable_names(kind, config)
        return {name: arrays.read(f"{place}/{index}") for index, name in enumerate(names)}

    return layout, weights


def _legacy_weights(group: Any) -> WeightSource:
    """Weights of an HDF5 file: each outermost layer lists all that lie below it by name."""
    arrays = StoredArrays(group)

    def weights(trail: tuple[tuple[str, str], ...], config: dict[str, Any], kind: str) -> dict[str, Array]:
        names = _variable_names(kind, config)
        if not names:
            return {}
        outer_name = trail[0][1]
        arrays.names(outer_name)  # refuses a link that leads elsewhere
        outer = group[outer_name]
        listed = [_text(name) for name in outer.attrs["weight_names"]]
        found = {}
        for path in listed:
            *parents, variable = path.split(":")[0].split("/")
            if parents and parents[-1] == trail[-1][1]:
                found[variable.removeprefix("depthwise_")] = arrays.read(f"{outer_name}/{path}")
        return {name: found[name] for name in names}

    return weights


def _variable_names(kind: str, config: dict[str, Any]) -> list[str]:
    """The names of a layer's weights, in the order in which Keras stores them."""
    if kind == "BatchNormalization":
        own = [name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]
        return [*own, "moving_mean", "moving_variance"]
    if kind in ("Conv2D", "DepthwiseConv2D", "Dense"):
        return ["kernel", "bias"] if config.get("use_bias", True) else ["kernel"]
    return []


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _model(path: Path, layout: dict[str, Any], weights: WeightSource) -> KerasFile:
    layers: list[KerasLayer] = []
    output = _flatten(path, layout, weights, layers, ())
    shape = next((layer.config.get("batch_shape") for layer in layers if layer.kind == "InputLayer"), None)
    if shape is None or len(shape) != 4 or shape[3] != 3:
        raise ModelError(f"{path}: its input {shape} is no colour picture (height, width, 3)")
    size_wh = None if None in shape[1:3] else (int(shape[2]), int(shape[1]))
    return KerasFile(tuple(layers), output, size_wh)


def _flatten(
    path: Path,
    layout: dict[str, Any],
    weights: WeightSource,
    layers: list[KerasLayer],
    trail: tuple[tuple[str, str], ...],
    fed_by: str | None = None,
) -> str:
    """Append the layers of a model, nested ones too, to `layers`; the name of its output."""
    kind, config = layout["class_name"], layout["config"]
    if kind not in CONTAINERS:
        raise ModelError(f"{path}: {_refusal(kind)}")
    entries = config["layers"] if isinstance(config, dict) else config
    prefix = "".join(f"{own}/" for _, own in trail)
    names: dict[str, str] = {}
    used: dict[str, int] = {}
    last = fed_by or ""
    for entry in entries:
        name = entry.get("name") or entry["config"]["name"]
        by_class = _counted(_snake(entry["class_name"]), used)
        inputs = _inputs(path, entry) if kind != "Sequential" else ([last] if last else [])
        fed = [names.get(one, one) for one in inputs]
        step = (*trail, (by_class, name))
        if entry["class_name"] in CONTAINERS:
            last = _flatten(path, entry, weights, layers, step, fed[0])
        elif entry["class_name"] == "InputLayer" and fed_by is not None:
            last = fed_by
        else:
            last = prefix + name
            if kind == "Sequential" and not fed and entry["class_name"] != "InputLayer":
                fed = [_input_of(entry, layers)]
            layers.append(_layer(path, entry, last, tuple(fed), step, weights))
        names[name] = last
    if kind == "Sequential":
        return last
    outputs = config["output_layers"]
    first = outputs if isinstance(outputs[0], str) else outputs[0]
    if not isinstance(outputs[0], str) and len(outputs) > 1:
        raise ModelError(f"{path}: {len(outputs)} outputs; a classifier has one")
    return names[first[0]]


def _layer(
    path: Path,
    entry: dict[str, Any],
    name: str,
    inputs: tuple[str, ...],
    trail: tuple[tuple[str, str], ...],
    weights: WeightSource,
) -> KerasLayer:
    kind, config = entry["class_name"], dict(entry["config"])
    module = entry.get("module") or "keras.layers"
    if kind not in KNOWN or not module.startswith("keras") or entry.get("registered_name"):
        raise ModelError(f"{path}: {_refusal(kind)}")
    if kind == "InputLayer" and "batch_shape" not in config:
        config["batch_shape"] = config.get("batch_input_shape")
    if config.get("data_format", "channels_last") not in ("channels_last", None):
        raise ModelError(f"{path}: layer {name} wants channels first; save the model with channels last")
    return KerasLayer(name, kind, config, inputs, weights(trail, config, kind))


def _input_of(entry: dict[str, Any], layers: list[KerasLayer]) -> str:
    """Old Sequential models have no input layer: their first layer states the shape."""
    shape = entry["config"].get("batch_input_shape") or entry["config"].get("batch_shape")
    layers.append(KerasLayer("input", "InputLayer", {"batch_shape": shape}, ()))
    return "input"


def _inputs(path: Path, entry: dict[str, Any]) -> list[str]:
    """Names of the layers that feed a layer, as Keras 3 or Keras 2 wrote them."""
    calls = entry.get("inbound_nodes") or []
    if len(calls) > 1:
        raise ModelError(f"{path}: layer {entry.get('name')} is used twice; such models are not read")
    if not calls:
        return []
    found: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                found.append(value["config"]["keras_history"][0])
            else:
                for inner in value.values():
                    collect(inner)
        elif isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
                found.append(value[0])
            else:
                for inner in value:
                    collect(inner)

    collect(calls[0]["args"] if isinstance(calls[0], dict) else calls[0])
    return found


def _refusal(kind: str) -> str:
    if kind in RUNS_CODE:
        return f"holds code (a {kind} layer), which is never run; save the model without it"
    return f"a layer of class {kind} is not understood; use Keras' own layers as the tutorial's model does"


def _snake(name: str) -> str:
    """`AveragePooling2D` → `average_pooling2d`, as Keras names weights in a file."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _counted(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def with_size(model: KerasFile, size_wh: tuple[int, int]) -> KerasFile:
    """The model for pictures of another size, where its file leaves the size open."""
    return replace(model, size_wh=size_wh)

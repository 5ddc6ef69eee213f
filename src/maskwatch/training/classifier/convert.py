"""From the layers of a Keras file to one ONNX graph that takes uint8 RGB pictures.

Written by hand, so that it is the same for every backend of Keras, needs none of them, and folds
what can be folded. A test holds it against Keras.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from maskwatch.classifier_card import ClassifierCard
from maskwatch.errors import ModelError
from maskwatch.files import write_whole
from maskwatch.training.classifier.keras_file import IDENTITIES, KerasFile, KerasLayer
from maskwatch.training.graph import GraphBuilder, value

INPUT_RANGES: Final[dict[str, tuple[float, float]]] = {
    "-1..1": (1 / 127.5, -1.0),
    "0..1": (1 / 255, 0.0),
    "0..255": (1.0, 0.0),
}
"""What a model was trained to see in a pixel: factor and offset for bytes. The tutorial's is -1..1."""


def build(model: KerasFile, *, input_range: str = "-1..1", output: str = "probabilities") -> onnx.ModelProto:
    """The graph: `images` (n, h, w, 3) uint8 RGB → `output` (n, k) float32.

    A single sigmoid becomes two probabilities, that of the first class being the rest.

    Raises:
        ModelError: a layer has an option that is not understood, or the size is open.
    """
    return _Converter(model).convert(INPUT_RANGES[input_range], output)


def write_onnx(model: onnx.ModelProto, card: ClassifierCard, path: Path) -> None:
    """Write a graph with its card as one self-contained file."""
    model.doc_string = "Mask classifier for face crops; see metadata_props."
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(), sync=True)


class _Converter:
    """Walks the layers once. Pictures lie as channels, height, width within the graph."""

    def __init__(self, model: KerasFile) -> None:
        self._model = model
        self._graph = GraphBuilder()
        self._values: dict[str, str] = {}
        self._rank: dict[str, int] = {}
        self._uses = Counter(name for layer in model.layers for name in layer.inputs)
        self._by_input = {layer.inputs[0]: layer for layer in model.layers if len(layer.inputs) == 1}
        self._folded: set[str] = set()
        self._scaling = (1.0, 0.0)

    def convert(self, scaling: tuple[float, float], output: str) -> onnx.ModelProto:
        """See `build`."""
        if self._model.size_wh is None:
            raise ModelError("the model leaves its picture size open; name one with --size")
        self._scaling = scaling
        for layer in self._model.layers:
            self._add(layer)
        last = self._model.layers[-1]
        result = self._values[self._model.output]
        if self._rank[self._model.output] != 2:
            raise ModelError(f"the last layer {self._model.output} gives no list of probabilities")
        if self._is_single_sigmoid(last):
            rest = self._graph.op("Sub", self._graph.constant([1.0], np.float32), result)
            result = self._graph.op("Concat", rest, result, axis=1)
        self._graph.rename(self._graph.op("Identity", result), output)
        width, height = self._model.size_wh
        return self._graph.model(
            [value("images", np.uint8, ["n", height, width, 3])],
            [value(output, np.float32, ["n", "k"])],
        )

    def _is_single_sigmoid(self, layer: KerasLayer) -> bool:
        return layer.kind == "Dense" and layer.config.get("units") == 1

    def _add(self, layer: KerasLayer) -> None:
        if layer.name in self._folded or layer.kind in IDENTITIES:
            self._pass_on(layer)
            return
        ranks = [self._rank[name] for name in layer.inputs]
        self._rank[layer.name] = ranks[0] if ranks else 4
        inputs = [self._values[name] for name in layer.inputs]
        add = getattr(self, f"_add_{layer.kind.lower()}")
        result = add(layer, *inputs)
        activation = layer.config.get("activation")
        if layer.kind in ("Conv2D", "DepthwiseConv2D", "Dense"):
            result = self._activate(layer, activation, result)
        self._values[layer.name] = result

    def _pass_on(self, layer: KerasLayer) -> None:
        self._values[layer.name] = self._values[layer.inputs[0]]
        self._rank[layer.name] = self._rank[layer.inputs[0]]

    def _add_inputlayer(self, _layer: KerasLayer) -> str:
        factor, offset = self._scaling
        x = self._graph.op("Cast", "images", to=onnx.TensorProto.FLOAT)
        x = self._graph.op("Transpose", x, perm=[0, 3, 1, 2])
        return self._scaled(x, factor, offset)

    def _scaled(self, x: str, factor: float, offset: float) -> str:
        if factor != 1:
            x = self._graph.op("Mul", x, self._graph.constant([factor], np.float32))
        if offset:
            x = self._graph.op("Add", x, self._graph.constant([offset], np.float32))
        return x

    def _add_rescaling(self, layer: KerasLayer, x: str) -> str:
        factor, offset = layer.config["scale"], layer.config.get("offset", 0.0)
        if not isinstance(factor, int | float) or not isinstance(offset, int | float):
            raise ModelError(f"layer {layer.name}: rescaling by channel is not understood; use one number")
        return self._scaled(x, float(factor), float(offset))

    def _add_conv2d(self, layer: KerasLayer, x: str) -> str:
        kernel = layer.weights["kernel"].transpose(3, 2, 0, 1)
        return self._convolve(layer, x, kernel, int(layer.config.get("groups", 1)))

    def _add_depthwiseconv2d(self, layer: KerasLayer, x: str) -> str:
        kernel = layer.weights["kernel"]
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        return self._convolve(layer, x, kernel, channels)

    def _convolve(self, layer: KerasLayer, x: str, kernel: Any, groups: int) -> str:
        """A convolution, with the batch norm behind it folded in where nothing else reads it."""
        bias = layer.weights.get("bias", np.zeros(len(kernel), np.float32))
        norm = self._by_input.get(layer.name)
        plain = layer.config.get("activation") in (None, "linear")
        if norm is not None and norm.kind == "BatchNormalization" and plain and self._uses[layer.name] == 1:
            scale, shift = _scale_and_shift(norm)
            kernel, bias = kernel * scale[:, None, None, None], bias * scale + shift
            self._folded.add(norm.name)
        attributes: dict[str, Any] = {
            "kernel_shape": list(kernel.shape[2:]),
            "strides": _pair(layer.config["strides"]),
            "dilations": _pair(layer.config.get("dilation_rate", 1)),
            "group": groups,
        }
        weights = [self._graph.constant(array, np.float32) for array in (kernel, bias)]
        return self._graph.op("Conv", x, *weights, **attributes, **_padding(layer))

    def _add_batchnormalization(self, layer: KerasLayer, x: str) -> str:
        scale, shift = _scale_and_shift(layer)
        shape = (1, -1, 1, 1) if self._rank[layer.name] == 4 else (1, -1)
        x = self._graph.op("Mul", x, self._graph.constant(scale.reshape(shape), np.float32))
        return self._graph.op("Add", x, self._graph.constant(shift.reshape(shape), np.float32))

    def _add_dense(self, layer: KerasLayer, x: str) -> str:
        if self._rank[layer.name] != 2:
            raise ModelError(
                f"layer {layer.name}: a Dense layer on a picture is not understood; flatten first"
            )
        kernel = layer.weights["kernel"]
        bias = layer.weights.get("bias", np.zeros(kernel.shape[1], np.float32))
        weights = [self._graph.constant(array, np.float32) for array in (kernel, bias)]
        return self._graph.op("Gemm", x, *weights)

    def _add_relu(self, layer: KerasLayer, x: str) -> str:
        if layer.config.get("threshold") or layer.config.get("negative_slope"):
            raise ModelError(f"layer {layer.name}: a leaky ReLU is not understood; use a plain one")
        most = layer.config.get("max_value")
        return self._activate(layer, "relu", x) if most is None else self._clip(x, float(most))

    def _add_activation(self, layer: KerasLayer, x: str) -> str:
        return self._activate(layer, layer.config["activation"], x)

    def _add_softmax(self, layer: KerasLayer, x: str) -> str:
        return self._activate(layer, "softmax", x)

    def _activate(self, layer: KerasLayer, activation: Any, x: str) -> str:
        if activation in (None, "linear"):
            return x
        if activation == "relu6":
            return self._clip(x, 6.0)
        if activation == "softmax":
            return self._graph.op("Softmax", x, axis=1)
        if activation in ("silu", "swish"):
            return self._graph.op("Mul", x, self._graph.op("Sigmoid", x))
        simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu"}
        if not isinstance(activation, str) or activation not in simple:
            raise ModelError(
                f"layer {layer.name}: activation {activation} is not understood; use relu or softmax"
            )
        return self._graph.op(simple[activation], x)

    def _clip(self, x: str, most: float) -> str:
        ends = [self._graph.constant(end, np.float32) for end in (0.0, most)]
        return self._graph.op("Clip", x, *ends)

    def _add_zeropadding2d(self, layer: KerasLayer, x: str) -> str:
        padding = layer.config["padding"]
        (top, bottom), (left, right) = [_pair(side) for side in _pair(padding)]
        return self._graph.op("Pad", x, self._graph.constant([0, 0, top, left, 0, 0, bottom, right]))

    def _add_add(self, _layer: KerasLayer, *inputs: str) -> str:
        total = inputs[0]
        for one in inputs[1:]:
            total = self._graph.op("Add", total, one)
        return total

    def _add_concatenate(self, _layer: KerasLayer, *inputs: str) -> str:
        return self._graph.op("Concat", *inputs, axis=1)

    def _add_averagepooling2d(self, layer: KerasLayer, x: str) -> str:
        return self._pool("AveragePool", layer, x)

    def _add_maxpooling2d(self, layer: KerasLayer, x: str) -> str:
        return self._pool("MaxPool", layer, x)

    def _pool(self, kind: str, layer: KerasLayer, x: str) -> str:
        side = _pair(layer.config["pool_size"])
        strides = _pair(layer.config.get("strides") or side)
        return self._graph.op(kind, x, kernel_shape=side, strides=strides, **_padding(layer))

    def _add_globalaveragepooling2d(self, layer: KerasLayer, x: str) -> str:
        pooled = self._graph.op("GlobalAveragePool", x)
        if layer.config.get("keepdims"):
            return pooled
        self._rank[layer.name] = 2
        return self._graph.op("Flatten", pooled)

    def _add_flatten(self, layer: KerasLayer, x: str) -> str:
        if self._rank[layer.name] == 4:
            x = self._graph.op("Transpose", x, perm=[0, 2, 3, 1])
        self._rank[layer.name] = 2
        return self._graph.op("Flatten", x)


def _scale_and_shift(norm: KerasLayer) -> tuple[Any, Any]:
    """A batch norm at rest is x·scale + shift."""
    weights = norm.weights
    scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + norm.config.get("epsilon", 1e-3))
    return scale, weights.get("beta", 0.0) - weights["moving_mean"] * scale


def _pair(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value, value]


def _padding(layer: KerasLayer) -> dict[str, str]:
    """TensorFlow's "same" pads more at the end than at the start, as SAME_UPPER does."""
    return {"auto_pad": "SAME_UPPER"} if layer.config.get("padding") == "same" else {}

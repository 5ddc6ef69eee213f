"""Build an ONNX graph by hand: a few operators, each a method that returns its output's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from torch import nn

OPSET = 18
IR_VERSION = 9


class GraphBuilder:
    """Collects nodes and weights; names are numbers, which keeps files small and stable."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, bytes, tuple[int, ...]], str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator with one output."""
        output = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def rename(self, x: str, name: str) -> None:
        """Call the output `x` of some operator `name`, as an output of the model has to be."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if one == x else one for one in names]

    def constant(self, values: npt.ArrayLike, dtype: type[np.generic] = np.int64) -> str:
        """A constant array; equal ones are stored once."""
        array = np.ascontiguousarray(np.array(values, dtype=dtype))
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self._constants:
            self._constants[key] = f"c{len(self._initializers)}"
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def conv(self, x: str, layer: nn.Conv2d, *, activation: Literal["Relu", "Relu6"] | None = None) -> str:
        """A convolution with the layer's weights, and an activation behind it if asked for."""
        inputs = [x, self.constant(layer.weight.detach().cpu().numpy(), np.float32)]
        if layer.bias is not None:
            inputs.append(self.constant(layer.bias.detach().cpu().numpy(), np.float32))
        padding = [int(side) for side in layer.padding]
        x = self.op(
            "Conv",
            *inputs,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[*padding, *padding],
            group=layer.groups,
        )
        if activation == "Relu6":
            return self.op("Clip", x, self.constant(0, np.float32), self.constant(6, np.float32))
        return x if activation is None else self.op(activation, x)

    def log_odds(self, x: str) -> str:
        """log(x / (1 − x))."""
        return self.op("Log", self.op("Div", x, self.op("Sub", self.constant(1, np.float32), x)))

    def shape(self, x: str, start: int, end: int) -> str:
        """The dimensions `start` to `end` (exclusive) of `x`, as a vector."""
        return self.op("Shape", x, start=start, end=end)

    def slice(self, x: str, start: Sequence[int], end: Sequence[int] | str, axes: Sequence[int]) -> str:
        """A part of `x`; `end` may be the name of a vector."""
        last = end if isinstance(end, str) else self.constant(list(end))
        return self.op("Slice", x, self.constant(list(start)), last, self.constant(list(axes)))

    def columns(self, x: str, count: int) -> list[str]:
        """The columns (k, 1) of (k, count): what is taken over them works for k = 0 on a graphics card, too.

        onnxruntime's WebGPU refuses to reduce what is empty, as it is in a picture without a face.
        """
        return [self.slice(x, [column], [column + 1], [1]) for column in range(count)]

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, "maskwatch", inputs, outputs, self._initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="maskwatch"
        )


def value(name: str, kind: type[np.generic], shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """An input or output of a model."""
    kinds = {np.uint8: TensorProto.UINT8, np.int64: TensorProto.INT64, np.float32: TensorProto.FLOAT}
    return helper.make_tensor_value_info(name, kinds[kind], list(shape))

"""What an ONNX file holds, read before onnxruntime sees it; what a model of ours never needs is refused.

onnxruntime would follow a path in `external_data` to any file (CVE-2024-27318 and its kin), run loops
without end, and load operators of other makers. The file's protocol buffers are walked here in a few
lines, so that neither the `onnx` package nor its parser's history is needed. Field numbers are those of
onnx.proto3; the wire format is Protocol Buffers' encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from maskwatch.errors import ModelError

Shape = tuple[int | str, ...]
"""Sides of a tensor, as words where the file leaves them open."""

UINT8, INT64, FLOAT = 2, 7, 1
_TYPE_NAMES: Final = {UINT8: "uint8", INT64: "int64", FLOAT: "float32"}
MOST_NODES = 20_000
MOST_VALUES = 2**28
"""Numbers in one constant: four times the largest detector file."""
_DOMAINS: Final = frozenset({"", "ai.onnx"})
_ALLOWED: Final = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Compress Concat
Constant ConstantOfShape Conv ConvTranspose DepthToSpace DequantizeLinear Div Dropout Elu Equal
Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity InstanceNormalization
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Min Mish Mod Mul
Neg NonMaxSuppression NonZero Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL2
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize RoiAlign Round ScatterElements
ScatterND Selu Shape Sigmoid Sign Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze
Sub Sum Tanh Tile TopK Transpose Unsqueeze Where Xor
"""
OPERATORS: Final = frozenset(_ALLOWED.split())
"""Arithmetic on tensors. Not among them: loops, branches, random numbers, text, other makers' operators."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: element type (a number of onnx.proto3) and shape."""

    kind: int
    shape: Shape

    def __str__(self) -> str:
        return f"{_TYPE_NAMES.get(self.kind, f'type {self.kind}')} {'×'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class OnnxFile:
    """Inputs and outputs by name, and the operators used."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    operators: frozenset[str]


def read_onnx(data: bytes, name: str) -> OnnxFile:
    """Walk through a whole file; `name` is what errors call it.

    Raises:
        ModelError: it is no ONNX file, is damaged, keeps data outside itself, or uses what is not allowed.
    """
    if data[4:8] == b"ORTM":
        raise ModelError(
            f"{name}: a file in onnxruntime's own format, which cannot be checked; take the .onnx"
        )
    try:
        model = _collect(memoryview(data))
    except _DamagedError as error:
        raise ModelError(f"{name}: no ONNX model that can be loaded ({error}); take another copy") from error
    if 1 not in model or len(model.get(7, ())) != 1:
        raise ModelError(f"{name}: no ONNX model (it holds no graph); export it again")
    for number, words in ((20, "training information"), (25, "functions")):
        if number in model:
            raise ModelError(f"{name}: holds {words}, which a maskwatch model never does; export it again")
    try:
        return _graph(_collect(_view(model[7][0])), name)
    except _DamagedError as error:
        raise ModelError(f"{name}: no ONNX model that can be loaded ({error}); take another copy") from error


def check_signature(
    file: OnnxFile, name: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Compare inputs and outputs with what is wanted; words in a wanted shape stand for any size.

    Raises:
        ModelError: one is missing, too many, or of another type or shape.
    """
    for what, found, wanted in (("inputs", file.inputs, inputs), ("outputs", file.outputs, outputs)):
        if list(found) != list(wanted):
            raise ModelError(
                f"{name}: no maskwatch model, as its {what} are {_listed(found)}, not {_listed(wanted)}; "
                "export it again"
            )
        for key, tensor in wanted.items():
            if not _fits(found[key], tensor):
                raise ModelError(f"{name}: {key} is {found[key]}, not {tensor}; export it again")


class _DamagedError(Exception):
    """The bytes are no protocol buffer of the expected form."""


Field = int | memoryview
Message = dict[int, list[Field]]


def _graph(graph: Message, name: str) -> OnnxFile:
    if 15 in graph:
        raise ModelError(
            f"{name}: holds sparse constants, which a maskwatch model never does; export it again"
        )
    nodes = graph.get(1, [])
    if len(nodes) > MOST_NODES:
        raise ModelError(
            f"{name}: {len(nodes):,} operators, more than {MOST_NODES:,}; that is no model of ours"
        )
    for tensor in graph.get(5, ()):
        _check_tensor(_collect(_view(tensor)), name)
    operators = frozenset(_check_node(_collect(_view(node)), name) for node in nodes)
    constants = {_last_text(_collect(_view(tensor)), 8) for tensor in graph.get(5, ())}
    inputs = dict(_value(_collect(_view(value))) for value in graph.get(11, ()))
    outputs = dict(_value(_collect(_view(value))) for value in graph.get(12, ()))
    return OnnxFile({k: v for k, v in inputs.items() if k not in constants}, outputs, operators)


def _check_node(node: Message, name: str) -> str:
    """Refuse what is not allowed; the operator."""
    operator = _last_text(node, 4)
    _check_domain(_last_text(node, 7), name)
    if operator not in OPERATORS:
        raise ModelError(
            f"{name}: uses the operator {operator!r}, which maskwatch does not allow; export it again"
        )
    for attribute in node.get(5, ()):
        fields = _collect(_view(attribute))
        if not fields.keys().isdisjoint((6, 11, 14, 15, 22, 23)):
            raise ModelError(f"{name}: {operator} holds a graph or type of its own, which is not allowed")
        for number in (5, 10):
            for tensor in fields.get(number, ()):
                _check_tensor(_collect(_view(tensor)), name)
    return operator


def _check_tensor(tensor: Message, name: str) -> None:
    if 13 in tensor or any(tensor.get(14, ())):
        raise ModelError(
            f"{name}: keeps weights in another file (external data), which is refused; save it as one file"
        )
    if 6 in tensor or 3 in tensor:
        raise ModelError(
            f"{name}: holds text or a segment as a constant, which is not allowed; export it again"
        )
    values = 1
    for side in _numbers(tensor.get(1, ())):
        values *= side
    if not 0 <= values <= MOST_VALUES:
        raise ModelError(f"{name}: a constant of {values:,} numbers; that is no model of ours")


def _check_domain(domain: str, name: str) -> None:
    """Of a node: a file may import more than it uses, as onnxruntime's quantiser writes it."""
    if domain not in _DOMAINS:
        raise ModelError(f"{name}: uses operators of {domain!r}, which are not allowed; only ONNX's own are")


def _value(value: Message) -> tuple[str, Tensor]:
    """Name and tensor type of an input or output."""
    kinds = _collect(_last_view(value, 2))
    if set(kinds) - {1, 6}:
        raise _DamagedError("an input or output is no tensor")
    tensor = _collect(_last_view(kinds, 1))
    shape: list[int | str] = []
    for field in _collect(_last_view(tensor, 2)).get(1, ()):
        side = _collect(_view(field))
        shape.append(_number(side[1][-1]) if 1 in side else _last_text(side, 2) or "?")
    return _last_text(value, 1), Tensor(_number(tensor.get(1, [0])[-1]), tuple(shape))


def _fits(found: Tensor, wanted: Tensor) -> bool:
    return (
        found.kind == wanted.kind
        and len(found.shape) == len(wanted.shape)
        and all(
            isinstance(want, str) or isinstance(have, str) or have == want
            for have, want in zip(found.shape, wanted.shape, strict=True)
        )
    )


def _listed(tensors: Mapping[str, Tensor]) -> str:
    names = [name if len(name) <= 40 else f"{name[:37]}…" for name in tensors]
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") or "none"


def _collect(data: memoryview) -> Message:
    """The fields of one message by number."""
    message: Message = {}
    for number, value in _fields(data):
        message.setdefault(number, []).append(value)
    return message


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Number and value of each field: whole numbers, or the bytes of anything else."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise _DamagedError("a field without a number")
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind, -1)
        if size < 0 or at + size > end:
            raise _DamagedError("a field that is cut off, or of an unknown kind")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _DamagedError("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _DamagedError("a number without end")


def _numbers(fields: list[Field] | tuple[()]) -> Iterator[int]:
    """Signed whole numbers, packed or not."""
    for field in fields:
        if isinstance(field, int):
            yield _signed(field)
            continue
        at = 0
        while at < len(field):
            value, at = _varint(field, at)
            yield _signed(value)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _view(field: Field) -> memoryview:
    if isinstance(field, int):
        raise _DamagedError("a number where a message should be")
    return field


def _number(field: Field) -> int:
    if not isinstance(field, int):
        raise _DamagedError("bytes where a number should be")
    return _signed(field)


def _last_view(message: Message, number: int) -> memoryview:
    fields = message.get(number)
    return _view(fields[-1]) if fields else memoryview(b"")


def _last_text(message: Message, number: int) -> str:
    """A text field; of several the last counts, as in any protocol buffer."""
    return bytes(_last_view(message, number)).decode("utf-8", "replace")

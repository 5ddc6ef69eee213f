"""From trained weights to the one ONNX file that runs everywhere.

The graph takes uint8 RGB (or RGBA) pictures as they lie in memory, and gives suppressed boxes:
decoding and non-maximum suppression are inside, with their thresholds as inputs.

It looks twice: at the picture, and at the picture at a quarter of its sides, where it reports
faces from 256 px up. The second look costs a sixteenth, and faces of 250 to 1,000 px, which a network
of this size does not span, are of a size there that it knows well.

PyTorch's own exporter is not used: with a free height and width it takes a minute and leaves a
graph of twice as many operators. A test holds this graph against the network.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from torch import nn

from maskwatch.files import write_whole
from maskwatch.labels import LABELS, MASK_WORN_INCORRECTLY
from maskwatch.model_card import ModelCard
from maskwatch.training.backbones import MobileNetBackbone, YuNetBackbone
from maskwatch.training.calibration import LEAST_SCORE, Calibration, Pool
from maskwatch.training.graph import GraphBuilder, value
from maskwatch.training.layers import add_module, folded, side_by_side, widened
from maskwatch.training.network import LARGEST_LOG_SIZE, NEAR_PX, Head, MaskNet
from maskwatch.training.refiner import LEAST_CHANCE, MOST_CHANCE, NO_FACE
from maskwatch.training.second_stage import (
    QUARTER,
    Found,
    at_a_quarter,
    by_crop,
    crop,
    joined,
    second_look,
    without_corners,
)

SIZE_MULTIPLE = 8
"""Pictures are padded to this, so that the coarse look has even sides."""
COARSE_LEAST_PX = 256.0
"""Smaller faces are left to the native look; its largest are learnt up to `LARGEST_NATIVE_PX`."""
COARSE_LEAST_STRIDE = 16
"""The coarse look goes without the finer levels, whose faces are smaller than it reports."""


def export_onnx(
    network: MaskNet, card: ModelCard, path: Path, calibration: Calibration | None = None
) -> None:
    """Write `network` with its card to `path` as one self-contained ONNX file."""
    model = build(network, calibration or Calibration())
    model.doc_string = "Face detector with three mask labels; see metadata_props."
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(), sync=True)


def build(network: MaskNet, calibration: Calibration) -> onnx.ModelProto:
    """The whole graph: both looks, decoding, and suppression over all labels together."""
    network = copy.deepcopy(network).eval().cpu()
    graph = GraphBuilder()
    colours = graph.slice("images", [0], [3], [3])
    planes = graph.op("Cast", graph.op("Transpose", colours, perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT)
    quarter = at_a_quarter(graph, planes)
    levels: list[str] = []
    kinds: list[tuple[float, float]] = []
    looks = ((planes, 1, 0.0, 0), (quarter, QUARTER, COARSE_LEAST_PX, COARSE_LEAST_STRIDE))
    for look, factor, least_px, least_stride in looks:
        strides = [stride for stride in network.config.strides if stride >= least_stride]
        levels += _levels(graph, look, network, strides[0])
        kinds += [(float(stride * factor), least_px**2) for stride in strides]
    threshold = _raw_threshold(graph, calibration, has_second_stage=network.refiner is not None)
    raw, picture, cell = _likely(graph, levels, threshold)
    boxes, scores = _decode(graph, raw, *_priors(graph, cell, levels, kinds), network.config.near_margin)
    found = _suppress(graph, boxes, scores, picture, threshold)
    if network.refiner is None:
        found = found._replace(scores=_platt(graph, found.scores, calibration.scale, calibration.shift))
    else:
        far, near = by_crop(graph, found)
        both = joined(graph, far, near)
        crops = crop(graph, planes, quarter, far, near)
        logits, xyxy = second_look(graph, crops, both.xyxy, network.refiner)
        judged = both._replace(xyxy=xyxy, scores=_pooled(graph, both.scores, logits, calibration.pool))
        found = without_corners(graph, judged)
        column = graph.op("Unsqueeze", found.picture, graph.constant([1]))
        found = _suppress(graph, found.xyxy, found.scores, column, "score_threshold")
    for x, name in zip(found, ("image_index", "xyxy", "label_scores"), strict=True):
        graph.rename(x, name)
    return graph.model(
        [
            value("images", np.uint8, ["batch", "height", "width", "channels"]),
            value("score_threshold", np.float32, [1]),
            value("iou_threshold", np.float32, [1]),
            value("max_detections", np.int64, [1]),
        ],
        [
            value("image_index", np.int64, ["faces"]),
            value("xyxy", np.float32, ["faces", 4]),
            value("label_scores", np.float32, ["faces", len(LABELS)]),
        ],
    )


def _levels(graph: GraphBuilder, x: str, network: MaskNet, finest: int) -> list[str]:
    """`MaskNet.levels` for RGB planes: one (B, 8, h, w) a level, from stride `finest` on."""
    backbone = network.backbone
    make = _mobilenet if isinstance(backbone, MobileNetBackbone) else _yunet
    fine, *features = make(graph, x, backbone)
    left_out = network.config.strides.index(finest)
    first = max(0, left_out - int(network.config.stride_4))
    for index in range(len(features) - 1, first - 1, -1):
        if index + 1 < len(features):
            above = _doubled(graph, features[index + 1], features[index])
            features[index] = graph.op("Add", features[index], above)
        features[index] = add_module(graph, features[index], network.laterals[index])
    pairs = list(zip(features, network.heads, strict=True))
    outputs = [_head(graph, x, head) for x, head in pairs[first:]]
    if network.config.stride_4 and not left_out:
        coarse = _doubled(graph, graph.conv(features[0], network.slim_coarse), fine)
        slim = graph.op("Relu", graph.op("Add", add_module(graph, fine, network.slim_fine), coarse))
        outputs.insert(0, _head(graph, slim, network.slim_head))
    return outputs


def _yunet(graph: GraphBuilder, x: str, backbone: nn.Module) -> list[str]:
    """Four feature maps; the stem's input channels are turned round, as the network knows BGR."""
    assert isinstance(backbone, YuNetBackbone)
    first = folded(backbone.stem.conv, backbone.stem.norm)
    first.weight = nn.Parameter(first.weight.flip(1))
    x = add_module(graph, graph.conv(x, first, activation="Relu"), backbone.stem.unit)
    features = [add_module(graph, _halved(graph, x), backbone.stage_4)]
    for stage in (backbone.stage_8, backbone.stage_16, backbone.stage_32):
        features.append(add_module(graph, _halved(graph, features[-1]), stage))
    return features


def _mobilenet(graph: GraphBuilder, x: str, backbone: nn.Module) -> list[str]:
    """Four feature maps; scaling to −1..1 is folded into the first convolution."""
    assert isinstance(backbone, MobileNetBackbone)
    first = copy.deepcopy(folded(backbone.conv, backbone.norm))
    assert first.bias is not None
    first.bias = nn.Parameter(first.bias - first.weight.sum(dim=(1, 2, 3)))
    first.weight = nn.Parameter(first.weight.flip(1) / 127.5)
    first.padding = (1, 1)  # of zeros, which stand for the −1 that the network pads with
    x = graph.conv(x, first, activation="Relu6")
    features = []
    for stage in backbone.stages:
        x = add_module(graph, x, stage)
        features.append(x)
    pairs = zip(backbone.adapters, features[1:], strict=True)
    return [features[0], *(add_module(graph, x, adapter) for adapter, x in pairs)]


def _head(graph: GraphBuilder, x: str, head: nn.Module) -> str:
    """Box and label branch; their last convolutions are laid together, which spares operators."""
    assert isinstance(head, Head)
    x = add_module(graph, x, head.shared)
    label = add_module(graph, x, head.label_blocks)
    numbers, names = head.box.depthwise.out_channels, head.label.depthwise.out_channels
    box = graph.conv(x, widened(head.box.pointwise, 0, names))
    label = graph.conv(label, widened(head.label.pointwise, numbers, 0))
    return graph.conv(graph.op("Add", box, label), side_by_side(head.box.depthwise, head.label.depthwise))


def _halved(graph: GraphBuilder, x: str) -> str:
    return graph.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)


def _doubled(graph: GraphBuilder, x: str, like: str) -> str:
    scales = graph.constant([1, 1, 2, 2], np.float32)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    larger = graph.op("Resize", x, "", scales, **attributes)
    return graph.slice(larger, [0, 0], graph.shape(like, 2, 4), [2, 3])


def _likely(graph: GraphBuilder, levels: list[str], threshold: str) -> tuple[str, str, str]:
    """Of the cells of all levels (B, 8, h, w) the k above the score threshold: few, so the rest is cheap.

    Gives their raw values (k, 8), pictures (k, 1), and numbers (k, 1), counted through the levels.
    """
    rows = [graph.op("Reshape", level, graph.constant([0, 0, -1])) for level in levels]
    raw = graph.op("Concat", *rows, axis=2)
    logit = graph.op("ReduceMax", graph.slice(raw, [5], [8], [1]), graph.constant([1]), keepdims=1)
    objectness = graph.op("Sigmoid", graph.slice(raw, [4], [5], [1]))
    best = graph.op("Mul", graph.op("Sigmoid", logit), objectness)  # a score's square
    above = graph.op("Greater", best, graph.op("Mul", threshold, threshold))
    found = graph.op("NonZero", graph.op("Squeeze", above, graph.constant([1])))  # (2, k): picture, cell
    places = graph.op("Transpose", found, perm=[1, 0])
    values = graph.op("GatherND", graph.op("Transpose", raw, perm=[0, 2, 1]), places)
    picture, cell = graph.columns(places, 2)
    return values, picture, cell


def _priors(
    graph: GraphBuilder, cell: str, levels: list[str], kinds: list[tuple[float, float]]
) -> tuple[str, str, str]:
    """Corners (k, 2) px, strides (k, 1) px, and least areas (k, 1) of the cells (k, 1) of `_likely`.

    `kinds` are the levels' strides and least areas. Where a cell lies follows from its number and the
    levels' shapes: reckoned for the k alone, not for every cell, it is a few small operators.
    """
    sizes = graph.op("Concat", *(graph.shape(level, 2, 4) for level in levels), axis=0)
    table = graph.op("Reshape", sizes, graph.constant([-1, 2]))
    height, width = graph.columns(table, 2)
    cells = graph.op("Transpose", graph.op("Mul", height, width), perm=[1, 0])
    up_to = graph.op("Mul", cells, graph.constant(np.tri(len(levels), dtype=np.int64)))
    ends = graph.op("ReduceSum", up_to, graph.constant([1]), keepdims=0)
    passed = graph.op("Cast", graph.op("GreaterOrEqual", cell, ends), to=onnx.TensorProto.INT64)
    level = graph.op("ReduceSum", passed, graph.constant([1]), keepdims=0)
    before = graph.op("ReduceSum", graph.op("Mul", passed, cells), graph.constant([1]), keepdims=1)
    inside = graph.op("Sub", cell, before)
    across = graph.op("Gather", width, level, axis=0)
    row = graph.op("Div", inside, across)
    column = graph.op("Sub", inside, graph.op("Mul", row, across))
    steps = graph.op("Cast", graph.op("Concat", column, row, axis=1), to=onnx.TensorProto.FLOAT)
    stride, least = graph.columns(graph.op("Gather", graph.constant(kinds, np.float32), level, axis=0), 2)
    return graph.op("Mul", steps, stride), stride, least


def _decode(
    graph: GraphBuilder, raw: str, corner: str, stride: str, least_area: str, near_margin: float
) -> tuple[str, str]:
    """Boxes (k, 4) px, `roomier`, and label scores (k, 3) of raw outputs (k, 8).

    Scores of boxes too small are 0.
    """
    centre = graph.op("Add", graph.op("Mul", graph.slice(raw, [0], [2], [1]), stride), corner)
    largest = graph.constant(LARGEST_LOG_SIZE, np.float32)
    log_size = graph.op("Min", graph.slice(raw, [2], [4], [1]), largest)
    size = graph.op("Mul", graph.op("Exp", log_size), stride)
    area = graph.op("Mul", *graph.columns(size, 2))
    half = graph.op("Mul", size, _half_share(graph, area, near_margin))
    boxes = graph.op("Concat", graph.op("Sub", centre, half), graph.op("Add", centre, half), axis=1)

    chances = graph.op("Sigmoid", graph.slice(raw, [4], [8], [1]))
    objectness, labels = graph.slice(chances, [0], [1], [1]), graph.slice(chances, [1], [4], [1])
    scores = graph.op("Sqrt", graph.op("Mul", labels, objectness))
    fits = graph.op("GreaterOrEqual", area, least_area)
    return boxes, graph.op("Mul", scores, graph.op("Cast", fits, to=onnx.TensorProto.FLOAT))


def _half_share(graph: GraphBuilder, area: str, near_margin: float) -> str:
    """By how much of its sides a box of this area (k, 1) px² reaches from its centre, see `roomier`."""
    if not near_margin:
        return graph.constant(0.5, np.float32)
    none, whole = NEAR_PX
    slope = near_margin / (whole - none)
    linear = graph.op("Mul", graph.op("Sqrt", area), graph.constant(slope, np.float32))
    share = graph.op("Add", linear, graph.constant(0.5 - slope * none, np.float32))
    least, most = (graph.constant(bound, np.float32) for bound in (0.5, 0.5 + near_margin))
    return graph.op("Clip", share, least, most)


def _suppress(graph: GraphBuilder, boxes: str, scores: str, picture: str, threshold: str) -> Found:
    """Non-maximum suppression of all labels together; the faces it keeps.

    What the operator calls classes are the pictures of the batch here: boxes of different ones
    never suppress each other.
    """
    batch = graph.op("Squeeze", graph.shape("images", 0, 1))
    numbers = graph.op("Range", graph.constant(0), batch, graph.constant(1))
    column = graph.op("Unsqueeze", numbers, graph.constant([1]))
    best = graph.op("Max", *graph.columns(scores, len(LABELS)))
    own = graph.op("Equal", graph.op("Transpose", picture, perm=[1, 0]), column)
    ranked = graph.op("Where", own, graph.op("Transpose", best, perm=[1, 0]), graph.constant(0, np.float32))
    front = graph.constant([0])
    inputs = [graph.op("Unsqueeze", x, front) for x in (boxes, ranked)]
    kept = graph.op("NonMaxSuppression", *inputs, "max_detections", "iou_threshold", threshold)
    number, row = (
        graph.op("Squeeze", graph.slice(kept, [at], [at + 1], [1]), graph.constant([1])) for at in (1, 2)
    )
    return Found(number, *(graph.op("Gather", x, row, axis=0) for x in (boxes, scores)))


def _raw_threshold(graph: GraphBuilder, calibration: Calibration, *, has_second_stage: bool) -> str:
    """The score threshold as the detector means it, before calibration.

    Before a second stage it is low enough for what that one can raise most.
    """
    if not has_second_stage:
        return _platt(graph, "score_threshold", 1 / calibration.scale, -calibration.shift / calibration.scale)
    pool = calibration.pool
    most = pool.face_refiner * math.log(MOST_CHANCE / (1 - MOST_CHANCE)) + pool.face_shift
    return _platt(graph, "score_threshold", 1 / pool.face_detector, -most / pool.face_detector)


def _platt(graph: GraphBuilder, score: str, scale: float, shift: float) -> str:
    """`Calibration.apply`."""
    odds = graph.op("Mul", _odds(graph, score), graph.constant(scale, np.float32))
    return graph.op("Sigmoid", graph.op("Add", odds, graph.constant(shift, np.float32)))


def _pooled(graph: GraphBuilder, scores: str, logits: str, pool: Pool) -> str:
    """`Pool.apply`."""
    no_face = graph.slice(graph.op("Softmax", logits, axis=1), [NO_FACE], [NO_FACE + 1], [1])
    low, high = (graph.constant(value, np.float32) for value in (LEAST_CHANCE, MOST_CHANCE))
    face = graph.op("Clip", graph.op("Sub", graph.constant(1, np.float32), no_face), low, high)
    best = graph.op("Max", *graph.columns(scores, len(LABELS)))
    seen = _weighted(graph, (_odds(graph, best), pool.face_detector), (_odds(graph, face), pool.face_refiner))
    chance = graph.op("Sigmoid", graph.op("Add", seen, graph.constant(pool.face_shift, np.float32)))
    log_scores = graph.op("Log", graph.op("Max", scores, graph.constant(LEAST_SCORE, np.float32)))
    labels = graph.slice(logits, [0], [NO_FACE], [1])
    label = _weighted(graph, (log_scores, pool.label_detector), (labels, pool.label_refiner))
    rarer = np.zeros(len(LABELS))
    rarer[MASK_WORN_INCORRECTLY] = pool.wrong_shift
    share = graph.op("Softmax", graph.op("Add", label, graph.constant(rarer, np.float32)), axis=1)
    return graph.op("Mul", chance, share)


def _weighted(graph: GraphBuilder, *parts: tuple[str, float]) -> str:
    """The sum of two values, each times its weight."""
    return graph.op("Add", *(graph.op("Mul", x, graph.constant(w, np.float32)) for x, w in parts))


def _odds(graph: GraphBuilder, score: str) -> str:
    """Log-odds of scores, which are kept off 0 and 1."""
    low, high = (graph.constant(value, np.float32) for value in (LEAST_SCORE, 1 - LEAST_SCORE))
    return graph.log_odds(graph.op("Clip", score, low, high))

"""The second stage as ONNX operators: crops of the faces found, the refiner on them, both judgements in one.

The crops are cut with one sample a pixel, from the picture or, for large faces, from the picture at a
quarter of its sides, in which they are smooth. So they cost less than the refiner itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskwatch.training.graph import GraphBuilder
from maskwatch.training.layers import add_module, folded
from maskwatch.training.refiner import CROP_SHARE, CROP_SIDE, MOST_GROWTH, NO_FACE, Refiner

if TYPE_CHECKING:
    from torch import nn

LARGE_PX = 128.0
"""Faces from this size on are cut from the quarter-size picture; of `CROP_SHARE`, they fill a crop there."""
LEAST_CHANCE, MOST_CHANCE = 0.001, 0.97
"""What the refiner holds for less or more likely than this counts as this."""


class Planes(NamedTuple):
    """A batch as RGB planes (B, 3, h, w) in 0..255, and the same at a quarter of its sides."""

    whole: str
    quarter: str


class Found(NamedTuple):
    """Faces of a batch: the picture's number (n,), the box (n, 4) in px, and the label scores (n, 3)."""

    picture: str
    xyxy: str
    scores: str


def most_lift(weight: float) -> float:
    """How much the refiner can raise a score at most, in log-odds."""
    return weight * math.log(MOST_CHANCE / (1 - MOST_CHANCE))


def refine(graph: GraphBuilder, planes: Planes, found: Found, refiner: Refiner, weight: float) -> Found:
    """The faces where the refiner sees them, with scores that count both stages, in another order.

    The log-odds of both, the refiner's times `weight`, are summed. One more is among them, whose
    scores are next to nothing.
    """
    found = _never_none(graph, found)
    order, crops = crop(graph, planes, found.picture, found.xyxy)
    picture, xyxy, scores = (graph.op("Gather", x, order, axis=0) for x in found)
    classes, change = _judge(graph, crops, refiner)
    chances = graph.op("Softmax", classes, axis=1)
    low, high = (graph.constant(value, np.float32) for value in (LEAST_CHANCE, MOST_CHANCE))
    own = graph.op("Clip", graph.slice(chances, [0], [NO_FACE], [1]), low, high)
    weighted = graph.op("Mul", graph.log_odds(own), graph.constant(weight, np.float32))
    summed = graph.op("Sigmoid", graph.op("Add", graph.log_odds(scores), weighted))
    return Found(picture, _moved(graph, xyxy, change), summed)


def _never_none(graph: GraphBuilder, found: Found) -> Found:
    """The faces and one that is none: onnxruntime's WebGPU convolves no empty batch of crops."""
    picture = graph.constant([0])
    xyxy = graph.constant([[0, 0, 8, 8]], np.float32)
    scores = graph.constant([[1e-30] * NO_FACE], np.float32)
    pairs = zip(found, (picture, xyxy, scores), strict=True)
    return Found(*(graph.op("Concat", *pair, axis=0) for pair in pairs))


def crop(graph: GraphBuilder, planes: Planes, picture: str, xyxy: str) -> tuple[str, str]:
    """Crops (n, 3, `CROP_SIDE`, `CROP_SIDE`) of the boxes, and which box each is of (n,)."""
    first, last, wh = _corners(graph, xyxy)
    width, height = graph.slice(wh, [0], [1], [1]), graph.slice(wh, [1], [2], [1])
    area = graph.op("Squeeze", graph.op("Mul", width, height), graph.constant([1]))
    large = graph.op("GreaterOrEqual", area, graph.constant(LARGE_PX**2, np.float32))
    spare = graph.op("Mul", wh, graph.constant((CROP_SHARE - 1) / 2, np.float32))
    window = graph.op("Concat", graph.op("Sub", first, spare), graph.op("Add", last, spare), axis=1)
    orders, parts = [], []
    for chosen, plane, scale in ((graph.op("Not", large), planes.whole, 1.0), (large, planes.quarter, 0.25)):
        rows = graph.op("Squeeze", graph.op("NonZero", chosen), graph.constant([0]))
        orders.append(rows)
        parts.append(
            graph.op(
                "RoiAlign",
                plane,
                graph.op("Gather", window, rows, axis=0),
                graph.op("Gather", picture, rows, axis=0),
                output_height=CROP_SIDE,
                output_width=CROP_SIDE,
                sampling_ratio=1,
                spatial_scale=scale,
                coordinate_transformation_mode="half_pixel",
            )
        )
    return graph.op("Concat", *orders, axis=0), graph.op("Concat", *parts, axis=0)


def _corners(graph: GraphBuilder, xyxy: str) -> tuple[str, str, str]:
    """First and last corners (n, 2) of boxes (n, 4), and their sides (n, 2)."""
    first, last = graph.slice(xyxy, [0], [2], [1]), graph.slice(xyxy, [2], [4], [1])
    return first, last, graph.op("Sub", last, first)


def _moved(graph: GraphBuilder, xyxy: str, change: str) -> str:
    """`refiner.moved`, in px."""
    first, _, wh = _corners(graph, xyxy)
    half = graph.constant(0.5, np.float32)
    shift = graph.op("Add", graph.slice(change, [0], [2], [1]), half)
    middle = graph.op("Add", first, graph.op("Mul", shift, wh))
    least, most = (graph.constant(value, np.float32) for value in (-MOST_GROWTH, MOST_GROWTH))
    growth = graph.op("Exp", graph.op("Clip", graph.slice(change, [2], [4], [1]), least, most))
    reach = graph.op("Mul", graph.op("Mul", growth, half), wh)
    return graph.op("Concat", graph.op("Sub", middle, reach), graph.op("Add", middle, reach), axis=1)


def _judge(graph: GraphBuilder, crops: str, refiner: Refiner) -> tuple[str, str]:
    """`Refiner.forward`."""
    scaled = graph.op("Mul", crops, graph.constant(1 / 127.5, np.float32))
    x = graph.op("Sub", scaled, graph.constant(1, np.float32))
    x = graph.conv(x, folded(refiner.conv, refiner.norm), activation="Relu6")
    x = add_module(graph, x, refiner.stages)
    x = graph.conv(x, folded(refiner.last, refiner.last_norm), activation="Relu")
    means = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    return _linear(graph, means, refiner.classes), _linear(graph, graph.op("Flatten", x), refiner.box)


def _linear(graph: GraphBuilder, x: str, layer: nn.Linear) -> str:
    """A dense layer."""
    weight, bias = (graph.constant(v.detach().numpy(), np.float32) for v in (layer.weight, layer.bias))
    return graph.op("Gemm", x, weight, bias, transB=1)

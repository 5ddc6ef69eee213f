"""The second stage as ONNX operators: crops of the faces found, the refiner on them, both judgements in one.

The crops are cut with one sample a pixel, from the picture or, for large faces, from the picture at a
quarter of its sides, in which they are smooth. So they cost less than the refiner itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from maskwatch.training.graph import GraphBuilder
from maskwatch.training.layers import add_module, folded
from maskwatch.training.refiner import CROP_SHARE, CROP_SIDE, NO_FACE, Refiner

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
    """The faces with scores that count both stages: their log-odds, the refiner's times `weight`, are summed.

    They come in another order.
    """
    order, crops = crop(graph, planes, found.picture, found.xyxy)
    picture, xyxy, scores = (graph.op("Gather", x, order, axis=0) for x in found)
    chances = graph.op("Softmax", _logits(graph, crops, refiner), axis=1)
    low, high = (graph.constant(value, np.float32) for value in (LEAST_CHANCE, MOST_CHANCE))
    own = graph.op("Clip", graph.slice(chances, [0], [NO_FACE], [1]), low, high)
    weighted = graph.op("Mul", graph.log_odds(own), graph.constant(weight, np.float32))
    return Found(picture, xyxy, graph.op("Sigmoid", graph.op("Add", graph.log_odds(scores), weighted)))


def crop(graph: GraphBuilder, planes: Planes, picture: str, xyxy: str) -> tuple[str, str]:
    """Crops (n, 3, `CROP_SIDE`, `CROP_SIDE`) of the boxes, and which box each is of (n,)."""
    first, last = graph.slice(xyxy, [0], [2], [1]), graph.slice(xyxy, [2], [4], [1])
    wh = graph.op("Sub", last, first)
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


def _logits(graph: GraphBuilder, crops: str, refiner: Refiner) -> str:
    """`Refiner.forward`."""
    scaled = graph.op("Mul", crops, graph.constant(1 / 127.5, np.float32))
    x = graph.op("Sub", scaled, graph.constant(1, np.float32))
    x = graph.conv(x, folded(refiner.conv, refiner.norm), activation="Relu6")
    x = add_module(graph, x, refiner.stages)
    x = graph.conv(x, folded(refiner.last, refiner.last_norm), activation="Relu")
    means = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    weight, bias = (v.detach().numpy() for v in (refiner.classes.weight, refiner.classes.bias))
    return graph.op(
        "Gemm", means, graph.constant(weight, np.float32), graph.constant(bias, np.float32), transB=1
    )

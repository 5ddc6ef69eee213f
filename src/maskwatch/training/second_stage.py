"""The second stage as ONNX operators: crops of the small faces found, and the refiner on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from maskwatch.training.graph import GraphBuilder
from maskwatch.training.layers import add_module, folded
from maskwatch.training.refiner import (
    CROP_SHARE,
    CROP_SIDE,
    LEAST_CHANCE,
    MOST_CHANCE,
    NO_FACE,
    SMALL_PX,
    Refiner,
)


class Found(NamedTuple):
    """Faces of a batch: the picture's number (n,), the box (n, 4) in px, and the label scores (n, 3)."""

    picture: str
    xyxy: str
    scores: str


def chosen(graph: GraphBuilder, found: Found, mask: str) -> Found:
    """The faces at which the mask (n,) is true."""
    rows = graph.op("Squeeze", graph.op("NonZero", mask), graph.constant([0]))
    return Found(*(graph.op("Gather", x, rows, axis=0) for x in found))


def by_size(graph: GraphBuilder, found: Found) -> tuple[Found, Found]:
    """The faces below `SMALL_PX`, and the others."""
    first, last = _corners(graph, found.xyxy)
    wh = graph.op("Sub", last, first)
    area = graph.op("Mul", *graph.columns(wh, 2))
    column = graph.op("Less", area, graph.constant(SMALL_PX**2, np.float32))
    small = graph.op("Squeeze", column, graph.constant([1]))
    return chosen(graph, found, small), chosen(graph, found, graph.op("Not", small))


def chances(graph: GraphBuilder, planes: str, picture: str, xyxy: str, refiner: Refiner) -> str:
    """`Refiner.chances` (n, 3) of boxes (n, 4) px in the pictures (n,) of a batch of RGB planes (B, 3, h, w).

    A corner of the first picture is judged, too: onnxruntime's WebGPU works on no empty batch.
    """
    picture = graph.op("Concat", picture, graph.constant([0]), axis=0)
    corner = graph.constant([[0, 0, CROP_SIDE, CROP_SIDE]], np.float32)
    crops = crop(graph, planes, picture, graph.op("Concat", xyxy, corner, axis=0))
    every = graph.op("Softmax", _logits(graph, crops, refiner), axis=1)
    labels = graph.slice(every, [0, 0], [-1, NO_FACE], [0, 1])
    low, high = (graph.constant(value, np.float32) for value in (LEAST_CHANCE, MOST_CHANCE))
    return graph.op("Clip", labels, low, high)


def crop(graph: GraphBuilder, planes: str, picture: str, xyxy: str) -> str:
    """Crops (n, 3, `CROP_SIDE`, `CROP_SIDE`) around boxes (n, 4) in pictures (n,) of a batch of planes."""
    first, last = _corners(graph, xyxy)
    share = graph.constant((CROP_SHARE - 1) / 2, np.float32)
    spare = graph.op("Mul", graph.op("Sub", last, first), share)
    window = graph.op("Concat", graph.op("Sub", first, spare), graph.op("Add", last, spare), axis=1)
    return graph.op(
        "RoiAlign",
        planes,
        window,
        picture,
        output_height=CROP_SIDE,
        output_width=CROP_SIDE,
        sampling_ratio=1,
        coordinate_transformation_mode="half_pixel",
    )


def _corners(graph: GraphBuilder, xyxy: str) -> tuple[str, str]:
    return graph.slice(xyxy, [0], [2], [1]), graph.slice(xyxy, [2], [4], [1])


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

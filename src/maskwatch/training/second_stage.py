"""The second stage as ONNX operators: crops of the faces found, and the refiner on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from maskwatch.labels import LABELS
from maskwatch.training.graph import GraphBuilder
from maskwatch.training.layers import add_module, averaging, folded
from maskwatch.training.refiner import CROP_SHARE, CROP_SIDE, MENDED_PX, MOST_MOVED, NEAR_CROP_PX, Refiner

QUARTER = 4
"""The coarse look's factor."""


class Found(NamedTuple):
    """Faces of a batch: the picture's number (n,), the box (n, 4) in px, and the label scores (n, 3)."""

    picture: str
    xyxy: str
    scores: str


def chosen(graph: GraphBuilder, found: Found, mask: str) -> Found:
    """The faces at which the mask (n,) is true."""
    rows = graph.op("Squeeze", graph.op("NonZero", mask), graph.constant([0]))
    return Found(*(graph.op("Gather", x, rows, axis=0) for x in found))


def is_below(graph: GraphBuilder, xyxy: str, px: float) -> str:
    """A mask (n,): which boxes (n, 4) are smaller than that."""
    first, last = _corners(graph, xyxy)
    area = graph.op("Mul", *graph.columns(graph.op("Sub", last, first), 2))
    column = graph.op("Less", area, graph.constant(px**2, np.float32))
    return graph.op("Squeeze", column, graph.constant([1]))


def by_crop(graph: GraphBuilder, found: Found) -> tuple[Found, Found]:
    """The faces whose crops `crop` cuts from the picture, and those it cuts from the one at a quarter.

    Before the first ones and behind the others stands a corner of the first picture, which no label is likely
    for: there may be no such face, and onnxruntime's WebGPU works on no empty batch.
    """
    is_far = is_below(graph, found.xyxy, NEAR_CROP_PX)
    far, near = chosen(graph, found, is_far), chosen(graph, found, graph.op("Not", is_far))
    corner = Found(
        graph.constant([0]),
        graph.constant([[0, 0, CROP_SIDE, CROP_SIDE]], np.float32),
        graph.constant([[0] * len(LABELS)], np.float32),
    )
    return joined(graph, corner, far), joined(graph, near, corner)


def joined(graph: GraphBuilder, first: Found, second: Found) -> Found:
    """Faces, and others behind them."""
    return Found(*(graph.op("Concat", *pair, axis=0) for pair in zip(first, second, strict=True)))


def without_corners(graph: GraphBuilder, found: Found) -> Found:
    """Both parts of `by_crop`, `joined`, without their corners."""
    return Found(*(graph.slice(x, [1], [-1], [0]) for x in found))


def second_look(graph: GraphBuilder, crops: str, xyxy: str, refiner: Refiner) -> tuple[str, str]:
    """`Judged.logits` (n, 4) of the faces with these crops and boxes (n, 4), and the boxes, `mended`."""
    scaled = graph.op("Mul", crops, graph.constant(1 / 127.5, np.float32))
    x = graph.op("Sub", scaled, graph.constant(1, np.float32))
    x = graph.conv(x, folded(refiner.conv, refiner.norm), activation="Relu6")
    x = add_module(graph, x, refiner.stages)
    xyxy = _mended(graph, xyxy, x, refiner)
    x = graph.conv(x, folded(refiner.last, refiner.last_norm), activation="Relu")
    means = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    weight, bias = (v.detach().numpy() for v in (refiner.classes.weight, refiner.classes.bias))
    logits = graph.op(
        "Gemm", means, graph.constant(weight, np.float32), graph.constant(bias, np.float32), transB=1
    )
    return logits, xyxy


def _mended(graph: GraphBuilder, xyxy: str, features: str, refiner: Refiner) -> str:
    """`mended` boxes (n, 4), by the refiner's last features."""
    if refiner.box is None:
        return xyxy
    raw = graph.conv(graph.conv(features, refiner.box.whole, activation="Relu"), refiner.box.last)
    most = (graph.constant(bound, np.float32) for bound in (-MOST_MOVED, MOST_MOVED))
    moves = graph.op("Clip", graph.op("Flatten", raw), *most)
    first, last = _corners(graph, xyxy)
    sides = graph.op("Sub", last, first)
    moves = graph.op("Mul", moves, _mended_share(graph, sides))
    by_two = graph.constant(0.5, np.float32)
    way = graph.op("Mul", sides, graph.slice(moves, [0], [2], [1]))
    middle = graph.op("Add", graph.op("Mul", graph.op("Add", first, last), by_two), way)
    growth = graph.op("Exp", graph.slice(moves, [2], [4], [1]))
    half = graph.op("Mul", graph.op("Mul", sides, growth), by_two)
    return graph.op("Concat", graph.op("Sub", middle, half), graph.op("Add", middle, half), axis=1)


def _mended_share(graph: GraphBuilder, sides: str) -> str:
    """By how much (n, 1) boxes with these sides (n, 2) are mended, see `MENDED_PX`."""
    whole, none = MENDED_PX
    size = graph.op("Sqrt", graph.op("Mul", *graph.columns(sides, 2)))
    spare = graph.op("Sub", graph.constant(none, np.float32), size)
    share = graph.op("Div", spare, graph.constant(none - whole, np.float32))
    return graph.op("Clip", share, *(graph.constant(bound, np.float32) for bound in (0, 1)))


def crop(graph: GraphBuilder, planes: str, quarter: str, far: Found, near: Found) -> str:
    """Crops (n, 3, `CROP_SIDE`, `CROP_SIDE`) around the faces `joined`, in a batch of planes.

    A sample in each cell would be too few for a near face, of which a crop shows one pixel in hundreds.
    """
    share = graph.constant((CROP_SHARE - 1) / 2, np.float32)
    crops = []
    for found, look, scale, samples in ((far, planes, 1.0, 1), (near, quarter, 1 / QUARTER, 2)):
        first, last = _corners(graph, found.xyxy)
        spare = graph.op("Mul", graph.op("Sub", last, first), share)
        window = graph.op("Concat", graph.op("Sub", first, spare), graph.op("Add", last, spare), axis=1)
        crops.append(
            graph.op(
                "RoiAlign",
                look,
                window,
                found.picture,
                output_height=CROP_SIDE,
                output_width=CROP_SIDE,
                sampling_ratio=samples,
                spatial_scale=scale,
                coordinate_transformation_mode="half_pixel",
            )
        )
    return graph.op("Concat", *crops, axis=0)


def at_a_quarter(graph: GraphBuilder, planes: str) -> str:
    """Planes (B, 3, h, w) at a quarter of their sides, the mean of each 4×4 pixels."""
    return graph.conv(planes, averaging(channels=3, factor=QUARTER))


def _corners(graph: GraphBuilder, xyxy: str) -> tuple[str, str]:
    return graph.slice(xyxy, [0], [2], [1]), graph.slice(xyxy, [2], [4], [1])

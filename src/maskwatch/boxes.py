"""Bare array maths on boxes: `xyxy` float arrays in pixels, end exclusive."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

PART_COVERED, PART_LEAST, PART_MOST = 0.6, 0.04, 0.75
"""What makes a box a part of another one; see `parts`."""


def area(xyxy: FloatArray) -> FloatArray:
    """Areas (n,) of boxes (n, 4) in px²; a box turned inside out has area 0."""
    size_wh = np.clip(xyxy[:, 2:4] - xyxy[:, 0:2], 0, None)
    return np.asarray(size_wh[:, 0] * size_wh[:, 1], dtype=np.float32)


def size(xyxy: FloatArray) -> FloatArray:
    """Sizes (n,) of boxes (n, 4): the side in px of the square with the same area."""
    return np.sqrt(area(xyxy))


def intersection(first: FloatArray, second: FloatArray) -> FloatArray:
    """Pairwise intersection areas (n, m) of boxes (n, 4) and (m, 4) in px²."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    size_wh = np.clip(right_bottom - left_top, 0, None)
    return np.asarray(size_wh[..., 0] * size_wh[..., 1], dtype=np.float32)


def iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Pairwise intersection over union (n, m), 0 where both boxes are empty."""
    shared = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def covered(first: FloatArray, second: FloatArray) -> FloatArray:
    """Pairwise share (n, m) of each first box's own area that lies inside a second box."""
    shared = intersection(first, second)
    own = np.broadcast_to(area(first)[:, None], shared.shape)
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def parts(xyxy: FloatArray, large_px: float) -> npt.NDArray[np.bool_]:
    """Which boxes (n, 4), best first, are parts of a better and large one: (n,) bool.

    A part lies with `PART_COVERED` of its area in an earlier box of at least `large_px`, and has from
    `PART_LEAST` to `PART_MOST` of that box's area. IoU does not show it: that of an eye and its face is
    a tenth.
    """
    areas = area(xyxy)
    ratio = areas[:, None] / np.maximum(areas[None, :], 1e-6)
    within = (covered(xyxy, xyxy) >= PART_COVERED) & (ratio >= PART_LEAST) & (ratio <= PART_MOST)
    large = size(xyxy)[None, :] >= large_px
    return np.asarray(np.tril(within & large, -1).any(axis=1), dtype=np.bool_)


def clip(xyxy: FloatArray, size_wh: tuple[int, int]) -> FloatArray:
    """Boxes (n, 4) cut off at the borders of a picture of `size_wh` pixels."""
    width, height = size_wh
    return np.clip(xyxy, 0, np.array([width, height, width, height], dtype=np.float32))


def from_xywh(xywh: FloatArray) -> FloatArray:
    """Boxes (n, 4) as left, top, width, height turned into `xyxy`."""
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:4]], axis=1).astype(np.float32)


def to_xywh(xyxy: FloatArray) -> FloatArray:
    """Boxes (n, 4) as `xyxy` turned into left, top, width, height."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:4] - xyxy[:, :2]], axis=1).astype(np.float32)


def warped(xyxy: FloatArray, affine: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Boxes (n, 4) around the ellipses in `xyxy`, as a face is one, after an affine map (2, 3)."""
    linear, offset = affine[:, :2], affine[:, 2]
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 @ linear.T + offset
    axes = (xyxy[:, 2:] - xyxy[:, :2]) / 2
    half = np.sqrt(axes**2 @ linear.T**2)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)

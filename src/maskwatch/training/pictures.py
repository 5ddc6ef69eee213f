"""Decoded training pictures at several sizes, and the real masks in them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image
from maskwatch.labels import WITH_MASK
from maskwatch.synthesis import Cloth
from maskwatch.training.prepare import TrainingImage, known, read_bgr

_SMALLEST_CLOTH_PX = 40.0
_LARGEST_STRETCH = 1.5


class PictureCache:
    """Decoded pictures and their halvings, kept up to a number of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._kept: dict[Path, list[Image]] = {}

    def read(self, path: Path) -> list[Image]:
        """The picture (h, w, 3) RGB, then the same at 1/2, 1/4 and 1/8 of its sides."""
        if path in self._kept:
            return self._kept[path]
        levels = [np.ascontiguousarray(read_bgr(path)[..., ::-1])]
        while len(levels) < 4 and min(levels[-1].shape[:2]) >= 16:
            halved = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            levels.append(halved.astype(np.uint8, copy=False))
        nbytes = sum(level.nbytes for level in levels)
        if nbytes <= self._left:
            self._left -= nbytes
            self._kept[path] = levels
        return levels


def level_for(scale: float, levels: Sequence[Image]) -> int:
    """Which of `PictureCache.read`'s sizes can be scaled to `scale` of the first without aliasing."""
    return min(max(0, math.floor(-math.log2(scale))), len(levels) - 1)


def warped(
    image: Image,
    affine: npt.NDArray[np.floating[Any]],
    size_wh: tuple[int, int],
    *,
    way: int = cv2.INTER_LINEAR,
    border: float = 114.0,
) -> Image:
    """The picture (h, w, 3) seen through `affine` (2, 3), which maps points as it maps the corners of boxes.

    The first pixel reaches from 0 to 1 there, while OpenCV's 0 is its middle: taken as they are, pixels and
    boxes are half a pixel apart where a picture is made smaller, and a whole one where it is mirrored.
    """
    between_middles = affine.astype(np.float64)
    between_middles[:, 2] += affine[:, :2].sum(axis=1) / 2 - 0.5
    seen = cv2.warpAffine(image, between_middles, size_wh, flags=way, borderValue=(border,) * 3)
    return seen.astype(np.uint8, copy=False)


class Cloths:
    """The masks worn in training pictures by faces whose landmarks are known, by size."""

    def __init__(self, images: Sequence[TrainingImage], cache: PictureCache) -> None:
        self._images = images
        self._cache = cache
        self._worn = sorted(
            (size, number, face) for number, image in enumerate(images) for face, size in _worn_masks(image)
        )

    def draw(self, size_px: float, rng: np.random.Generator) -> Cloth | None:
        """One at random that a face of `size_px` can wear sharply; None if there is none."""
        first = bisect_left(self._worn, (size_px / _LARGEST_STRETCH,))
        if first == len(self._worn):
            return None
        size, number, face = self._worn[int(rng.integers(first, len(self._worn)))]
        image = self._images[number]
        levels = self._cache.read(image.labelled.path)
        pixels = levels[level_for(size_px / size, levels)]
        shrunk = np.array(pixels.shape[1::-1]) / np.array(levels[0].shape[1::-1])
        return Cloth(pixels, (image.landmarks[face] * shrunk).astype(np.float32))


def _worn_masks(image: TrainingImage) -> Iterator[tuple[int, float]]:
    """Number and size in px of each face whose mask is large enough to be used."""
    faces, size = image.labelled.faces, image.labelled.faces.size
    usable = known(image.landmarks) & ~image.labelled.ignore
    for face in np.flatnonzero(usable & (faces.label == WITH_MASK) & (size >= _SMALLEST_CLOTH_PX)):
        yield int(face), float(size[face])

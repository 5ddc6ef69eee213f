"""Labelled pictures as another camera, lamp or program would show them: how much is lost to a shift?

Fixed changes of one strength each, after the corruptions of Hendrycks and Dietterich (2019, "Benchmarking
neural network robustness to common corruptions and perturbations"), with those that users report.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.datasets import LabelledImage
from maskwatch.frames import Image
from maskwatch.training.augment import grey, jpeg_coded
from maskwatch.training.pictures import warped

Shift = Callable[[LabelledImage, Image], tuple[LabelledImage, Image]]
"""Labels and pixels (h, w, 3) RGB of one picture before and after."""


def _pixels(
    change: Callable[[Image], Image], truth: LabelledImage, pixels: Image
) -> tuple[LabelledImage, Image]:
    """The faces stay where they are."""
    return truth, np.ascontiguousarray(change(pixels))


def _gains(red: float, green: float, blue: float, raised: float = 0.0) -> Shift:
    gains = np.array([red, green, blue])
    return partial(_pixels, lambda image: np.clip(image * gains + raised, 0, 255).astype(np.uint8))


def _noisy(image: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, 15, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _blurred(image: Image) -> Image:
    return cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.uint8, copy=False)


def _squeezed(wider: float, truth: LabelledImage, pixels: Image) -> tuple[LabelledImage, Image]:
    """`wider` times as wide, and as much less high: the area stays."""
    height, width = pixels.shape[:2]
    size_wh = round(width * wider), round(height / wider)
    scale = np.diag([size_wh[0] / width, size_wh[1] / height])
    return _moved(np.column_stack([scale, np.zeros(2)]), size_wh, truth, pixels)


def _tilted(degrees: float, truth: LabelledImage, pixels: Image) -> tuple[LabelledImage, Image]:
    """Turned about the middle; the canvas grows, so that nothing is cut off."""
    height, width = pixels.shape[:2]
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    size_wh = np.ceil((np.abs(linear) @ [width, height]).round(6)).astype(int)
    offset = size_wh / 2 - linear @ [width / 2, height / 2]
    return _moved(np.column_stack([linear, offset]), (int(size_wh[0]), int(size_wh[1])), truth, pixels)


def _moved(
    affine: npt.NDArray[np.float64], size_wh: tuple[int, int], truth: LabelledImage, pixels: Image
) -> tuple[LabelledImage, Image]:
    faces = replace(truth.faces, xyxy=boxes.warped(truth.faces.xyxy, affine))
    return replace(truth, faces=faces, size_wh=size_wh), warped(pixels, affine, size_wh)


SHIFTS: dict[str, Shift] = {
    "as it is": lambda truth, pixels: (truth, pixels),
    "red light": _gains(1, 0.5, 0.5),
    "blue light": _gains(0.5, 0.6, 1),
    "dark": _gains(0.3, 0.3, 0.3),
    "over-exposed": _gains(1.7, 1.7, 1.7, raised=20),
    "hazy": _gains(0.5, 0.5, 0.5, raised=64),
    "grey": partial(_pixels, grey),
    "red and blue swapped": partial(_pixels, lambda image: image[..., ::-1]),
    "noise": partial(_pixels, _noisy),
    "blur": partial(_pixels, _blurred),
    "JPEG of quality 20": partial(_pixels, partial(jpeg_coded, quality=20)),
    "16:9 made square": partial(_squeezed, 0.75),
    "square made 16:9": partial(_squeezed, 4 / 3),
    "tilted by 15°": partial(_tilted, 15.0),
    "turned by 90°": partial(_tilted, 90.0),
    "turned by 270°": partial(_tilted, 270.0),
}
"""By name, for tables."""

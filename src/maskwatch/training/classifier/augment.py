"""Vary a picture as the tutorial does: rotation, zoom, shifts, shear and mirroring."""

from __future__ import annotations

import cv2
import numpy as np

from maskwatch.frames import Image
from maskwatch.training.classifier.config import ClassifierConfig


def vary(image: Image, config: ClassifierConfig, rng: np.random.Generator) -> Image:
    """A varied copy of a square picture; what comes in from outside repeats the edge."""
    side = image.shape[0]
    angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
    shear = rng.uniform(-config.shear, config.shear)
    zoom_x, zoom_y = rng.uniform(1 - config.zoom, 1 + config.zoom, size=2)
    shift = rng.uniform(-config.shift, config.shift, size=2) * side
    mirror = -1.0 if config.flip and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([mirror * zoom_x, zoom_y])
    centre = np.full(2, (side - 1) / 2)
    whole = np.concatenate([matrix, (centre + shift - matrix @ centre)[:, None]], axis=1)
    varied = cv2.warpAffine(
        image, whole, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return varied.astype(np.uint8, copy=False)


def resized(image: Image, size_px: int) -> Image:
    """The picture stretched to a square, as the tutorial's `load_img(target_size=…)` does."""
    shrinks = image.shape[0] > size_px and image.shape[1] > size_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size_px, size_px), interpolation=how).astype(np.uint8, copy=False)

"""Darken a face's skin, as few of the labelled photos show people of dark skin."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.errors import OptionError
from maskwatch.frames import Image
from maskwatch.synthesis.geometry import FaceFrame, FloatArray
from maskwatch.synthesis.paint import drawn_on, window_around

_ABSORBED: Final = np.array([0.72, 0.83, 0.88], np.float32)
"""Share of red, green and blue light, linear, that the darkest skin takes of what light skin gives back."""
_LINEAR: Final = ((np.arange(256) / 255) ** 2.2).astype(np.float32)
_HEAD: Final = np.array([[-1.8, -1.8], [1.8, -1.8], [1.8, 2.5], [-1.8, 2.5]], np.float32)
_LIKE_SKIN_LAB: Final = np.array([50.0, 13.0, 14.0], np.float32)
"""How far lightness and the two hues of skin reach to both sides of the forehead's."""


def darken_skin(image: Image, landmarks: FloatArray, *, depth: float = 1.0) -> Image:
    """A copy of `image` in which the face's skin is darker: 0, as it is; 1, as dark as skin is.

    What has the forehead's colour counts as skin, so that masks, hair and eyes stay. A forehead of colder
    colours than skin has in white light stays, too. `landmarks` as for `draw_mask`; the face keeps its label.

    Raises:
        OptionError: a `depth` outside 0 to 1, or landmarks that are no face.
        ImageError: `image` is no RGB picture.
    """
    if not 0 <= depth <= 1:
        raise OptionError(f"depth is {depth}; it lies between 0 (as it is) and 1 (darkest)")

    def darken(canvas: Image, face: FaceFrame, _: np.random.Generator) -> None:
        _darken(canvas, face, depth)

    return drawn_on(image, landmarks, darken, None, "darken_skin(image)")


def _darken(canvas: Image, face: FaceFrame, depth: float) -> None:
    around = window_around(canvas, face.to_pixels(_HEAD))
    if around is None:
        return
    window, left, top = around
    u, v = face.grid(left, top, window.shape[1], window.shape[0])
    forehead = (np.abs(u) < 0.4) & (v > -0.55) & (v < -0.12)
    bridge = (np.abs(u) < 0.12) & (v > 0) & (v < 0.25)
    bare = forehead | bridge  # whatever is worn
    if not bare.any():
        return
    upright = np.where(v < 0.3, (v - 0.3) / 1.75, (v - 0.3) / 1.9)
    head = 1 / (1 + np.exp(np.clip(8 * ((u / 1.5) ** 2 + upright**2 - 1), -30, 30)))
    alike = cv2.GaussianBlur(_like_skin(window, bare), (0, 0), 0.3 + 0.04 * face.unit_px)
    light = _LINEAR[window]
    shine = 0.35 * np.maximum(light - 1.3 * np.median(light[bare], axis=0), 0)
    darker = np.clip(light * (1 - depth * _ABSORBED) + depth * shine, 0, 1) ** (1 / 2.2) * 255
    weight = (head * alike)[..., None]
    window[:] = (weight * darker + (1 - weight) * window).round().astype(np.uint8)


def _like_skin(window: Image, bare: npt.NDArray[np.bool_]) -> FloatArray:
    """How much each pixel (h, w) looks like the skin at `bare`, 0 to 1; 0 everywhere where that is none."""
    lab = cv2.cvtColor(window, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 1:] -= 128
    skin = np.median(lab[bare], axis=0)
    if min(skin[1:]) < 1:
        return np.zeros(bare.shape, np.float32)
    warmth = lab[..., 1:] @ skin[1:] / (skin[1:] @ skin[1:])
    far = (((lab - skin) / _LIKE_SKIN_LAB) ** 2).sum(axis=-1)
    alike = np.exp(-0.5 * np.maximum(far - 1, 0)) * np.clip((warmth - 0.35) / 0.3, 0, 1)
    return np.asarray(alike, np.float32)

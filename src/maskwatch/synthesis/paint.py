"""Fill outlines of a face with textures, lit as the picture is lit."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image, check_image
from maskwatch.synthesis.geometry import FaceFrame, FloatArray

Texture = Callable[[FloatArray, FloatArray], FloatArray]
"""(u, v), each (h, w), to colours (h, w, 3) in 0..255."""
Drawing = Callable[[Image, FaceFrame, np.random.Generator], None]
"""Changes a canvas, our own copy, where the face is."""


def drawn_on(
    image: Image, landmarks: FloatArray, drawing: Drawing, rng: np.random.Generator | None, name: str
) -> Image:
    """A copy of `image` with a drawing on the face at `landmarks`; errors name the image `name`.

    Raises:
        OptionError: landmarks that are no face.
        ImageError: `image` is no RGB picture.
    """
    check_image(image, name)
    face = FaceFrame.from_landmarks(landmarks)
    canvas = image.copy()
    drawing(canvas, face, rng or np.random.default_rng(0))
    return canvas


def window_around(
    canvas: Image, points: npt.NDArray[np.floating], margin: int = 0
) -> tuple[Image, int, int] | None:
    """The part of `canvas` that holds `points` (n, 2) px, its left and its top; None where it is outside."""
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, canvas.shape[1::-1])
    if right <= left or bottom <= top:
        return None
    return canvas[top:bottom, left:right], int(left), int(top)


def paint(
    canvas: Image,
    face: FaceFrame,
    outline_uv: npt.NDArray[np.floating],
    texture: Texture,
    rng: np.random.Generator,
    *,
    keep_light: float = 0.75,
    opacity: float = 1.0,
) -> None:
    """Fill an outline on `canvas`, our own copy, with a texture lit as the picture below it is lit.

    Below an `opacity` of 1 the picture shows through, and the outline's shadow is as faint.
    """
    points = face.to_pixels(outline_uv)
    around = window_around(canvas, points, margin=2 + int(0.05 * face.unit_px))
    if around is None:
        return
    window, left, top = around
    stencil = np.zeros(window.shape[:2], dtype=np.uint8)
    shift = 4
    fixed = np.round((points - [left, top]) * 2**shift).astype(np.int32)
    cv2.fillPoly(stencil, [fixed], 255, cv2.LINE_AA, shift)
    alpha = cv2.GaussianBlur(stencil, (0, 0), 0.3 + 0.008 * face.unit_px)
    u, v = face.grid(left, top, window.shape[1], window.shape[0])
    colour = texture(u, v)
    colour *= (1 - 0.28 * np.clip(np.abs(u) / 1.05, 0, 1.2) ** 2.5)[..., None]
    if keep_light > 0:
        grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY).astype(np.float32)
        light = cv2.GaussianBlur(grey, (0, 0), max(0.35 * face.unit_px, 1.0)) + 8
        inside = alpha > 127
        level = float(light[inside].mean()) if inside.any() else 128.0
        brightness = (level / 140.0) ** 0.6
        colour *= (np.clip(light / level, 0.4, 1.8) ** keep_light)[..., None] * brightness
    colour += rng.normal(0, 2.5, size=colour.shape[:2])[..., None].astype(np.float32)
    shadow = cv2.GaussianBlur(alpha, (0, 0), 0.6 + 0.05 * face.unit_px).astype(np.float32) / 255
    weight = opacity * (alpha.astype(np.float32) / 255)[..., None]
    below = window.astype(np.float32) * (1 - 0.22 * opacity * shadow[..., None])
    window[:] = np.clip(weight * colour + (1 - weight) * below, 0, 255).astype(np.uint8)


def draw_line(
    canvas: Image,
    face: FaceFrame,
    points: npt.NDArray[np.floating],
    colour: FloatArray,
    width: float,
    *,
    closed: bool = False,
) -> None:
    """A line through points (n, 2) in (u, v), `width` in distances from the eyes to the mouth."""
    path = np.concatenate([points, points[:1]]) if closed else points
    fixed = np.round(face.to_pixels(path) * 16).astype(np.int32)
    thickness = max(1, round(width * face.unit_px))
    cv2.polylines(canvas, [fixed], False, tuple(map(float, colour)), thickness, cv2.LINE_AA, 4)


def plain_texture(rgb: npt.ArrayLike) -> Texture:
    """One colour (3,) in 0..255."""
    colour = np.asarray(rgb, dtype=np.float32)
    return lambda u, _: np.broadcast_to(colour, (*u.shape, 3)).astype(np.float32).copy()


def fabric_colour(rng: np.random.Generator) -> FloatArray:
    """A colour (3,) as clothes have it: any hue, seldom saturated, dark as often as light."""
    hue, saturation, value = rng.uniform(0, 180), rng.beta(1.1, 2.2) * 255, rng.uniform(15, 245)
    hsv = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def print_texture(base: npt.NDArray[np.floating], rng: np.random.Generator) -> Texture:
    """Stripes, checks, dots or blotches in two colours."""
    first = np.clip(base, 5, 250)
    second = fabric_colour(rng)
    pattern = rng.integers(4)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(0.12, 0.5)
    phases = rng.uniform(0, 2 * np.pi, size=4)

    def printed(u: FloatArray, v: FloatArray) -> FloatArray:
        along = (np.cos(angle) * u + np.sin(angle) * v) * 2 * np.pi / pitch
        across = (np.sin(angle) * u - np.cos(angle) * v) * 2 * np.pi / pitch
        wave = {
            0: np.sin(along),
            1: np.sin(along) * np.sin(across),
            2: np.cos(along) + np.cos(across) - 0.8,
            3: np.sin(along * 0.7 + phases[0]) + np.sin(across * 0.9 + 2 * np.sin(along * 0.5 + phases[1])),
        }[int(pattern)]
        share = (1 / (1 + np.exp(-6 * wave)))[..., None]
        return np.asarray(share * first + (1 - share) * second, dtype=np.float32)

    return printed

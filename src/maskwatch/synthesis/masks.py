"""Draw a face mask on a face: kinds of mask, and ways of wearing it."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image
from maskwatch.labels import MASK_WORN_INCORRECTLY, WITH_MASK
from maskwatch.synthesis.cloth import Cloth, photographed_texture
from maskwatch.synthesis.geometry import FaceFrame, FloatArray, both_sides, check_choice, smooth
from maskwatch.synthesis.paint import (
    Texture,
    draw_line,
    drawn_on,
    fabric_colour,
    paint,
    plain_texture,
    print_texture,
)

MaskKind = Literal["surgical", "ffp2", "cloth", "black", "printed", "bandana", "respirator"]
Wear = Literal["over_nose", "under_nose", "on_chin"]
MASK_KINDS: Final[tuple[MaskKind, ...]] = get_args(MaskKind)
WEARS: Final[tuple[Wear, ...]] = get_args(Wear)
LABEL_OF_WEAR: Final[dict[Wear, int]] = {
    "over_nose": WITH_MASK,
    "under_nose": MASK_WORN_INCORRECTLY,
    "on_chin": MASK_WORN_INCORRECTLY,
}

# Right halves of the outlines in (u, v), from the top of the middle line to its bottom.
_OUTLINES: Final[dict[str, list[tuple[float, float]]]] = {
    "surgical": [(0, 0.30), (0.35, 0.33), (0.98, 0.45), (0.90, 1.15), (0.50, 1.60), (0, 1.72)],
    "ffp2": [(0, 0.20), (0.28, 0.32), (0.95, 0.62), (0.88, 1.10), (0.42, 1.64), (0, 1.80)],
    "cloth": [(0, 0.24), (0.30, 0.34), (0.98, 0.52), (0.92, 1.18), (0.45, 1.66), (0, 1.78)],
    "respirator": [(0, 0.22), (0.24, 0.42), (0.68, 0.78), (0.70, 1.25), (0.40, 1.62), (0, 1.74)],
    "bandana": [(0, 0.32), (0.50, 0.36), (1.08, 0.42), (1.02, 1.20), (0.45, 2.10), (0, 2.50)],
}
_OUTLINE_OF_KIND: Final[dict[MaskKind, str]] = {"black": "cloth", "printed": "cloth"}
# Where the middle of the upper edge sits of a mask that is not over the nose (v), how squeezed the mask is
# (least and most), and how far its loops lift the ends of it (least and most, at u = 1).
_WORN_WRONG: Final[dict[Wear, tuple[float, tuple[float, float], tuple[float, float]]]] = {
    "under_nose": (0.74, (0.66, 0.88), (0.0, 0.40)),
    "on_chin": (1.30, (0.28, 0.52), (0.10, 0.70)),
}
LOWER_OF_WEAR: Final[dict[Wear, tuple[float, float]]] = {
    "over_nose": (-0.08, 0.12),
    "under_nose": (-0.12, 0.14),
    "on_chin": (-0.12, 0.20),
}
"""How much lower a mask can sit, in distances from the eyes to the mouth, and still be worn so."""
_MASK_COLOURS: Final[dict[str, list[tuple[int, int, int]]]] = {
    "surgical": [(150, 195, 220), (120, 180, 205), (140, 205, 195), (235, 238, 240), (240, 190, 205)],
    "ffp2": [(240, 240, 238), (225, 225, 225), (250, 248, 240), (60, 60, 65), (190, 200, 205)],
    "black": [(22, 22, 24), (35, 35, 40), (15, 15, 15), (45, 42, 48)],
    "respirator": [(95, 100, 105), (60, 65, 72), (35, 35, 38), (45, 75, 110), (160, 165, 165)],
}
_FILTER_COLOURS: Final = [
    (215, 75, 135),
    (230, 190, 50),
    (235, 235, 235),
    (120, 120, 125),
    (40, 40, 42),
    (90, 130, 80),
]
_VALVED_SHARE: Final = 0.3


def draw_mask(
    image: Image,
    landmarks: FloatArray,
    *,
    kind: MaskKind = "surgical",
    wear: Wear = "over_nose",
    lower: float = 0.0,
    cloth: Cloth | None = None,
    rng: np.random.Generator | None = None,
) -> Image:
    """A copy of `image` (h, w, 3) RGB in which the face at `landmarks` (5, 2) px wears a mask.

    It sits lower by `lower`, see `LOWER_OF_WEAR`, and is made of `cloth` instead of a drawn fabric if that
    is given. `rng` chooses colour, pattern and small deformations; a fixed seed draws the same mask again.

    Raises:
        OptionError: unknown `kind` or `wear`, or landmarks that are no face, of `cloth` included.
        ImageError: `image` is no RGB picture.
    """
    check_choice("kind", kind, MASK_KINDS)
    check_choice("wear", wear, WEARS)

    def put_on(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
        shape = np.array(_OUTLINES[_OUTLINE_OF_KIND.get(kind, kind)])
        half = shape * rng.uniform(0.93, 1.07, size=(1, 2)) + rng.normal(0, 0.015, size=shape.shape)
        half[[0, -1], 0] = 0
        half[:, 1] = _worn(half, wear, rng) + lower
        if kind != "bandana":
            _draw_ear_loops(canvas, face, half, rng)
        texture = _mask_texture(kind, half, rng) if cloth is None else photographed_texture(cloth, half)
        paint(canvas, face, smooth(both_sides(half)), texture, rng)
        if kind == "respirator":
            _draw_filters(canvas, face, half, rng)
        elif kind == "ffp2" and cloth is None and rng.random() < _VALVED_SHARE:
            _draw_valve(canvas, face, half, rng)

    return drawn_on(image, landmarks, put_on, rng, "draw_mask(image)")


def _worn(half: npt.NDArray[np.floating], wear: Wear, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """The v (n,) of an outline's points (n, 2) where the mask is worn so.

    Pulled down, it lies in folds along the jaw, as its loops still hang on the ears.
    """
    u, v = half.T
    if wear not in _WORN_WRONG:
        return v
    top, squeeze, lift = _WORN_WRONG[wear]
    return np.asarray(top + rng.uniform(*squeeze) * (v - v[0]) - rng.uniform(*lift) * u**2)


def _draw_ear_loops(
    canvas: Image, face: FaceFrame, half: npt.NDArray[np.floating], rng: np.random.Generator
) -> None:
    """Two thin straps a side, from the mask's corners towards the ear."""
    colour = np.full(3, int(rng.uniform(150, 245)), np.float32)
    upper, lower = half[2], half[3]
    for side in (-1.0, 1.0):
        ear = np.array([side * 1.22, 0.25 + 0.35 * upper[1]])
        for corner in (upper, lower):
            start = corner * [side, 1]
            middle = (start + ear) / 2 + [side * 0.05, 0.03]
            draw_line(canvas, face, np.array([start, middle, ear]), colour, 0.03)


def _draw_filters(
    canvas: Image, face: FaceFrame, half: npt.NDArray[np.floating], rng: np.random.Generator
) -> None:
    """A round cartridge on each cheek, and the valve between them."""
    colour = np.array(_FILTER_COLOURS[rng.integers(len(_FILTER_COLOURS))]) * rng.uniform(0.85, 1.05)
    radius, beside, down = rng.uniform(0.26, 0.42), rng.uniform(0.68, 0.85), rng.uniform(0.45, 0.65)
    height = (1 - down) * half[0, 1] + down * half[-1, 1]
    for side in (-1.0, 1.0):
        middle = np.array([side * beside, height])
        paint(canvas, face, _disc(middle, radius), plain_texture(0.55 * colour), rng, keep_light=0.3)
        paint(canvas, face, _disc(middle, 0.8 * radius), plain_texture(colour), rng, keep_light=0.3)
    _draw_valve(canvas, face, half, rng)


def _draw_valve(
    canvas: Image, face: FaceFrame, half: npt.NDArray[np.floating], rng: np.random.Generator
) -> None:
    """A small disc where the breath leaves, in the middle or on one cheek."""
    middle = np.array([rng.choice([0.0, 0.0, -0.4, 0.4]), 0.4 * half[0, 1] + 0.6 * half[-1, 1]])
    shade = plain_texture(np.full(3, rng.choice([60, 150, 215, 235])))
    paint(canvas, face, _disc(middle, rng.uniform(0.14, 0.24)), shade, rng, keep_light=0.3)


def _disc(middle: npt.NDArray[np.floating], radius: float) -> npt.NDArray[np.floating]:
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _mask_texture(kind: MaskKind, half: npt.NDArray[np.floating], rng: np.random.Generator) -> Texture:
    """Colour and structure of one mask: pleats, a seam, a print."""
    base: npt.NDArray[np.floating]
    if kind in _MASK_COLOURS:
        choices = _MASK_COLOURS[kind]
        base = np.array(choices[rng.integers(len(choices))]) + rng.normal(0, 8, size=3)
    else:
        base = fabric_colour(rng)
    plain = plain_texture(np.clip(base, 8, 250))
    top, bottom = float(half[0, 1]), float(half[-1, 1])
    if kind == "surgical":
        pleats = top + (bottom - top) * np.array([0.36, 0.52, 0.68]) + rng.normal(0, 0.02, 3)
        depth = rng.uniform(0.08, 0.22)

        def pleated(u: FloatArray, v: FloatArray) -> FloatArray:
            bent = v - 0.06 * u**2
            dark = np.exp(-(((bent[..., None] - pleats) / 0.025) ** 2)).sum(axis=-1)
            edge = np.exp(-(((bent - top) / 0.05) ** 2))
            return plain(u, v) * (1 - depth * dark + 0.05 * edge)[..., None]

        return pleated
    if kind == "printed":
        return print_texture(base, rng)
    seam = rng.uniform(0.0, 0.25)
    bulge = rng.uniform(0.0, 0.2)

    def seamed(u: FloatArray, v: FloatArray) -> FloatArray:
        line = np.exp(-((u / 0.03) ** 2))
        middle = np.exp(-((u / 0.4) ** 2) - (((v - 0.8) / 0.5) ** 2))
        return plain(u, v) * (1 - seam * line + bulge * middle)[..., None]

    return seamed

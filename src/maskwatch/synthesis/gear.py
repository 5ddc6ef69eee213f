"""Draw what is worn on a head beside a mask: glasses, goggles, shields, caps, hoods, helmets, face guards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image
from maskwatch.synthesis.geometry import FaceFrame, FloatArray, both_sides, check_choice, smooth
from maskwatch.synthesis.paint import (
    Drawing,
    Texture,
    draw_line,
    drawn_on,
    fabric_colour,
    paint,
    plain_texture,
    print_texture,
)

EyewearKind = Literal["glasses", "sunglasses", "goggles", "shield"]
HeadwearKind = Literal["cap", "helmet", "hood", "guard"]
GearKind = EyewearKind | HeadwearKind
EYEWEAR_KINDS: Final[tuple[EyewearKind, ...]] = get_args(EyewearKind)
HEADWEAR_KINDS: Final[tuple[HeadwearKind, ...]] = get_args(HeadwearKind)
GEAR_KINDS: Final[tuple[GearKind, ...]] = (*EYEWEAR_KINDS, *HEADWEAR_KINDS)
HEAD_REACH: Final = 0.9
"""How far gear reaches beyond the box of its face at most, in the box's longer side."""

_CLOTHES: Final[tuple[tuple[int, int, int], ...]] = (
    (240, 242, 245),
    (225, 230, 232),
    (150, 195, 220),
    (60, 140, 190),
    (90, 160, 140),
    (40, 60, 110),
    (30, 30, 34),
)
"""Of caps and hoods in clinics, kitchens and clean rooms."""
_SHELLS: Final[tuple[tuple[int, int, int], ...]] = (
    (245, 200, 30),
    (240, 240, 240),
    (235, 110, 30),
    (40, 90, 190),
    (200, 40, 40),
    (50, 130, 70),
    (30, 30, 32),
)
"""Of helmets in workshops."""


def draw_gear(
    image: Image,
    landmarks: FloatArray,
    *,
    kinds: Sequence[GearKind] = ("goggles",),
    rng: np.random.Generator | None = None,
) -> Image:
    """A copy of `image` in which the face wears all of `kinds`, the first one below; none is a mask.

    `landmarks` and `rng` as for `draw_mask`; the face keeps its label, as nobody sees less of a mask, or of
    its absence, for a cap, goggles or a clear shield, nor much less for the bars or net of a `guard`.

    Raises:
        OptionError: an unknown one of `kinds`, or landmarks that are no face.
        ImageError: `image` is no RGB picture.
    """
    for kind in kinds:
        check_choice("kind", kind, GEAR_KINDS)

    def dress(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
        for kind in kinds:
            _GEAR[kind](canvas, face, rng)

    return drawn_on(image, landmarks, dress, rng, "draw_gear(image)")


def _lens(side: float, width: float, height: float, roundness: float) -> npt.NDArray[np.floating]:
    """One eye's glass (n, 2): between a rectangle (2) and a rhombus (0.5), an ellipse at 1."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    power = 2 / (1 + roundness)
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    return np.stack([side * 0.53 + width * x, 0.06 + height * y], axis=1)


def _glossy(base: npt.ArrayLike, rng: np.random.Generator, shine: float) -> Texture:
    """A colour with a bright slanting streak, as what is round and hard has it."""
    plain = plain_texture(base)
    place, breadth, slope = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.3), rng.uniform(-0.5, 0.5)

    def streaked(u: FloatArray, v: FloatArray) -> FloatArray:
        streak = np.exp(-(((u + slope * v - place) / breadth) ** 2))[..., None] * shine
        return np.asarray(plain(u, v) * (1 - streak) + 250 * streak, dtype=np.float32)

    return streaked


def _draw_spectacles(canvas: Image, face: FaceFrame, rng: np.random.Generator, *, darkness: float) -> None:
    width, height, roundness = rng.uniform(0.34, 0.47), rng.uniform(0.22, 0.36), rng.uniform(0.9, 2.2)
    frame = fabric_colour(rng) if rng.random() < 0.3 else np.full(3, rng.choice([20, 40, 150]), np.float32)
    line = rng.uniform(0.03, 0.09)
    glass = np.full(3, rng.uniform(10, 60)) + rng.uniform(0, 25, 3)
    for side in (-1.0, 1.0):
        outline = _lens(side, width, height, roundness)
        texture = _glossy(glass if darkness else np.full(3, 225), rng, rng.uniform(0, 0.5))
        paint(canvas, face, outline, texture, rng, keep_light=0.2, opacity=darkness or rng.uniform(0, 0.25))
        draw_line(canvas, face, outline, frame, line, closed=True)
        draw_line(canvas, face, np.array([[side * (0.53 + width), 0], [side * 1.2, -0.05]]), frame, line)
    draw_line(canvas, face, np.array([[-0.53 + width, 0.02], [0.53 - width, 0.02]]), frame, line)


def _draw_glasses(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    _draw_spectacles(canvas, face, rng, darkness=0.0)


def _draw_sunglasses(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    _draw_spectacles(canvas, face, rng, darkness=rng.uniform(0.75, 1.0))


def _draw_goggles(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """One broad glass in a soft frame, on a strap around the head."""
    wide, high = rng.uniform(0.92, 1.12), rng.uniform(0.32, 0.5)
    half = np.array([[0, -high], [0.6 * wide, -high], [wide, -0.5 * high], [0.95 * wide, 0.7 * high]])
    half = np.concatenate([half, [[0.45 * wide, high], [0.12, 0.45 * high], [0, 0.4 * high]]])
    half[:, 1] += rng.uniform(-0.02, 0.1)
    outline = smooth(both_sides(half), 1)
    strap = fabric_colour(rng)
    for side in (-1.0, 1.0):
        draw_line(canvas, face, np.array([[side * 0.9 * wide, 0.05], [side * 1.3, 0.0]]), strap, 0.2)
    tint = np.full(3, rng.uniform(190, 245)) if rng.random() < 0.6 else fabric_colour(rng)
    glass = _glossy(tint, rng, rng.uniform(0.2, 0.8))
    paint(canvas, face, outline, glass, rng, keep_light=0.3, opacity=float(rng.beta(1.5, 2.5)))
    frame = fabric_colour(rng) if rng.random() < 0.5 else np.full(3, rng.choice([30, 215]), np.float32)
    draw_line(canvas, face, outline, frame, rng.uniform(0.06, 0.16), closed=True)


def _draw_shield(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A clear sheet before the whole face, on a band at the forehead."""
    wide, bottom, top = rng.uniform(1.15, 1.5), rng.uniform(1.7, 2.6), rng.uniform(-1.1, -0.75)
    half = np.array([[0, top], [wide, top], [wide, 0.4 * bottom], [0.8 * wide, bottom], [0, 1.04 * bottom]])
    sheet = _glossy(np.full(3, rng.uniform(170, 250)), rng, rng.uniform(0.3, 0.9))
    outline = smooth(both_sides(half), 1)
    paint(canvas, face, outline, sheet, rng, keep_light=0.1, opacity=rng.uniform(0.08, 0.35))
    edge = np.full(3, rng.uniform(120, 250), np.float32)
    draw_line(canvas, face, outline, edge, 0.02, closed=True)
    band = np.array([[-wide, top - 0.12], [wide, top - 0.12], [wide, top + 0.16], [-wide, top + 0.16]])
    paint(canvas, face, band, _cloth(rng), rng, keep_light=0.4)


def _cloth(rng: np.random.Generator) -> Texture:
    """Mostly white, blue, green or dark; at times any colour or a print."""
    base = fabric_colour(rng)
    if rng.random() < 0.7:
        base = np.array(_CLOTHES[rng.integers(len(_CLOTHES))], np.float32)
    return print_texture(base, rng) if rng.random() < 0.12 else plain_texture(base)


def _folded(texture: Texture, rng: np.random.Generator) -> Texture:
    """With soft folds."""
    pitch, phases, depth = rng.uniform(2, 9, 2), rng.uniform(0, 6.3, 2), rng.uniform(0.02, 0.14)

    def folds(u: FloatArray, v: FloatArray) -> FloatArray:
        wave = np.sin(pitch[0] * u + phases[0] + 1.5 * np.sin(pitch[1] * v + phases[1]))
        return np.asarray(texture(u, v) * (1 + depth * wave)[..., None], dtype=np.float32)

    return folds


def _draw_cap(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A surgeon's or a cook's: from the forehead up, over the hair."""
    brow, top, wide = rng.uniform(-0.95, -0.55), rng.uniform(-2.5, -1.9), rng.uniform(1.15, 1.45)
    half = np.array([[0, brow], [0.6, brow + 0.03], [wide, brow + rng.uniform(-0.1, 0.5)]])
    half = np.concatenate([half, [[wide * 1.08, 0.6 * top], [0.7 * wide, top], [0, 1.05 * top]]])
    paint(canvas, face, smooth(both_sides(half)), _folded(_cloth(rng), rng), rng, keep_light=0.4)


def _shell_colour(rng: np.random.Generator) -> npt.NDArray[np.floating]:
    return np.array(_SHELLS[rng.integers(len(_SHELLS))]) * rng.uniform(0.85, 1.0)


def _draw_helmet(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A hard hat: a glossy dome above a brim, at times with a strap under the chin."""
    brow, top, wide = rng.uniform(-0.95, -0.6), rng.uniform(-2.5, -2.0), rng.uniform(1.2, 1.45)
    shell = _shell_colour(rng)
    half = np.array([[0, brow], [wide, brow], [wide, 0.65 * top], [0.6 * wide, top], [0, 1.03 * top]])
    dome = _glossy(shell, rng, rng.uniform(0.1, 0.6))
    if rng.random() < 0.4:
        strap = np.full(3, rng.choice([25, 200]), np.float32)
        jaw = [[-1.05, 0.0], [-0.85, 1.3], [0, 1.85], [0.85, 1.3], [1.05, 0.0]]
        draw_line(canvas, face, np.array(jaw), strap, 0.05)
    paint(canvas, face, smooth(both_sides(half), 1), dome, rng, keep_light=0.3)
    brim = np.array([[0, brow + 0.12], [0.9 * wide, brow + 0.1], [1.18 * wide, brow - 0.08], [0, brow - 0.1]])
    paint(canvas, face, smooth(both_sides(brim), 1), plain_texture(shell * 0.9), rng, keep_light=0.3)


def _draw_hood(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """An overall's hood: cloth all around the face, down to the shoulders."""
    brow, jaw, beside = rng.uniform(-0.95, -0.5), rng.uniform(1.6, 2.2), rng.uniform(0.9, 1.2)
    inner = [[0, brow], [0.7 * beside, 0.8 * brow], [beside, 0.3], [0.85 * beside, 0.75 * jaw], [0, jaw]]
    wide, top = rng.uniform(1.4, 1.75), rng.uniform(-2.5, -1.9)
    outer = [[0, top], [0.8 * wide, 0.85 * top], [wide, 0.2], [1.1 * wide, 1.9], [1.5 * wide, 3], [0, 3]]
    hole, around = smooth(both_sides(np.array(inner))), smooth(both_sides(np.array(outer)))
    ring = np.concatenate([around, around[:1], hole[:1], hole[::-1]])
    paint(canvas, face, ring, _folded(_cloth(rng), rng), rng, keep_light=0.45)


def _draw_guard(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A helmet with something before the face: bars as in sports, a forester's net or a rider's chin bar."""
    brow, top, wide = rng.uniform(-0.85, -0.5), rng.uniform(-2.4, -1.9), rng.uniform(1.3, 1.6)
    jaw, beside = rng.uniform(1.5, 1.9), rng.uniform(0.9, 1.1)
    shell = _shell_colour(rng)
    iron = shell if rng.random() < 0.4 else np.full(3, rng.choice([25, 90, 170, 235]))
    _BEFORE_FACE[rng.integers(len(_BEFORE_FACE))](canvas, face, rng, iron.astype(np.float32), jaw)
    inner = [[0, brow], [beside, brow + 0.1], [beside, 0.5 * jaw], [0.85 * beside, jaw]]
    outer = [[0.95 * wide, jaw], [wide, 0], [wide, 0.6 * top], [0.75 * wide, 0.9 * top], [0, 1.05 * top]]
    outline = smooth(both_sides(np.array([*inner, *outer])), 1)
    paint(canvas, face, outline, _glossy(shell, rng, rng.uniform(0.1, 0.6)), rng, keep_light=0.3)


def _draw_bars(
    canvas: Image, face: FaceFrame, rng: np.random.Generator, colour: FloatArray, jaw: float
) -> None:
    """Some below the eyes or a whole cage, each bent down before the face, and uprights between them."""
    first, width = rng.choice([-0.3, 0.35, 0.7]), rng.uniform(0.04, 0.13)
    across = np.linspace(-1.05, 1.05, 9)
    bend = rng.uniform(0.05, 0.3) * (1 - across**2)
    for v in np.linspace(first, jaw, rng.integers(2, 7)):
        draw_line(canvas, face, np.stack([across, v - 0.15 + bend], axis=1), colour, width)
    for side in rng.choice([0, 0.25, 0.5, 0.75], rng.integers(0, 3), replace=False):
        for u in {-side, side}:
            draw_line(canvas, face, np.array([[u, first], [0.9 * u, jaw + 0.1]]), colour, width)


def _draw_net(
    canvas: Image, face: FaceFrame, rng: np.random.Generator, colour: FloatArray, jaw: float
) -> None:
    """Thin threads, through which the face is seen, in a rim."""
    half = np.array([[0, -0.9], [1.1, -0.8], [1.1, 0.7 * jaw], [0.7, 1.15 * jaw], [0, 1.25 * jaw]])
    pitch = rng.uniform(0.04, 0.14)

    def woven(u: FloatArray, v: FloatArray) -> FloatArray:
        threads = np.sin(2 * np.pi * u / pitch) * np.sin(2 * np.pi * v / pitch)
        return np.asarray(colour * (0.6 + 0.4 * threads[..., None]), dtype=np.float32)

    outline = smooth(both_sides(half), 1)
    paint(canvas, face, outline, woven, rng, keep_light=0.1, opacity=rng.uniform(0.25, 0.65))
    draw_line(canvas, face, outline, colour * 0.7, rng.uniform(0.04, 0.09), closed=True)


def _draw_chin_bar(
    canvas: Image, face: FaceFrame, rng: np.random.Generator, colour: FloatArray, jaw: float
) -> None:
    """Hard and far from the face; at times a tinted visor above it."""
    rim = rng.uniform(0.95, 1.35)
    half = np.array(
        [[0, rim], [0.7, rim - 0.1], [1.15, rim - 0.4], [1.2, jaw], [0.7, jaw + 0.5], [0, jaw + 0.6]]
    )
    bar = _glossy(colour, rng, rng.uniform(0.1, 0.6))
    if rng.random() < 0.4:
        glass = np.array([[-1.1, -0.8], [1.1, -0.8], [1.1, rim], [-1.1, rim]])
        tint = _glossy(np.full(3, rng.uniform(20, 230)), rng, 0.5)
        paint(canvas, face, glass, tint, rng, keep_light=0.1, opacity=rng.uniform(0.1, 0.5))
    paint(canvas, face, smooth(both_sides(half), 1), bar, rng, keep_light=0.3)


_BEFORE_FACE: Final = (_draw_bars, _draw_bars, _draw_net, _draw_chin_bar)
_GEAR: Final[dict[GearKind, Drawing]] = {
    "glasses": _draw_glasses,
    "sunglasses": _draw_sunglasses,
    "goggles": _draw_goggles,
    "shield": _draw_shield,
    "cap": _draw_cap,
    "helmet": _draw_helmet,
    "hood": _draw_hood,
    "guard": _draw_guard,
}

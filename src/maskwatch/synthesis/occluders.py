"""Draw what hides a mouth without being a mask: hands, arms, tissues, scarves, cups, beards."""

from __future__ import annotations

from typing import Final, Literal, get_args

import cv2
import numpy as np

from maskwatch.frames import Image
from maskwatch.synthesis.geometry import FaceFrame, FloatArray, both_sides, capsule, check_choice, smooth
from maskwatch.synthesis.paint import Drawing, drawn_on, fabric_colour, paint, plain_texture, print_texture

OccluderKind = Literal["hand", "arm", "tissue", "scarf", "cup", "microphone", "card", "beard"]
OCCLUDER_KINDS: Final[tuple[OccluderKind, ...]] = get_args(OccluderKind)


def draw_occluder(
    image: Image,
    landmarks: FloatArray,
    *,
    kind: OccluderKind = "hand",
    rng: np.random.Generator | None = None,
) -> Image:
    """A copy of `image` in which something that is no mask hides part of the face.

    `landmarks` and `rng` as for `draw_mask`; the face stays `without_mask`.

    Raises:
        OptionError: unknown `kind`, or landmarks that are no face.
        ImageError: `image` is no RGB picture.
    """
    check_choice("kind", kind, OCCLUDER_KINDS)
    return drawn_on(image, landmarks, _OCCLUDERS[kind], rng, "draw_occluder(image)")


def _skin_colour(canvas: Image, face: FaceFrame) -> FloatArray:
    """Median colour of the cheeks and the nose."""
    points = face.to_pixels(np.array([[-0.4, 0.5], [0.4, 0.5], [0, 0.45], [-0.3, 0.6], [0.3, 0.6]]))
    x = np.clip(points[:, 0].astype(int), 0, canvas.shape[1] - 1)
    y = np.clip(points[:, 1].astype(int), 0, canvas.shape[0] - 1)
    return np.median(canvas[y, x], axis=0).astype(np.float32)


def _draw_hand(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    skin = plain_texture(_skin_colour(canvas, face) * rng.uniform(0.8, 1.08))
    side = rng.choice([-1.0, 1.0])
    height, tilt = rng.uniform(0.75, 1.15), rng.uniform(-0.25, 0.25)
    palm = np.array([[0.15, -0.25], [1.3, -0.45], [1.5, 1.6], [0.6, 1.5], [0.1, 0.55]]) * [side, 1]
    paint(canvas, face, smooth(palm + np.array([0, height])), skin, rng, keep_light=0.3)
    for finger in range(4):
        start = np.array([side * 0.4, height - 0.3 + 0.24 * finger], dtype=np.float32)
        end = np.array([-side * rng.uniform(0.3, 0.75), start[1] + tilt], dtype=np.float32)
        paint(canvas, face, capsule(start, end, 0.12), skin, rng, keep_light=0.3)


def _draw_arm(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A forearm before nose or mouth, bare or in a sleeve: one coughs into it, or rests on it."""
    side, height = rng.choice([-1.0, 1.0]), rng.uniform(0.8, 1.3)
    elbow = np.array([side * rng.uniform(1.4, 3.0), height + rng.uniform(-0.2, 1.2)], dtype=np.float32)
    hand = np.array([-side * rng.uniform(0.9, 2.4), height + rng.uniform(-0.4, 0.4)], dtype=np.float32)
    is_bare = rng.random() < 0.4
    skin = plain_texture(_skin_colour(canvas, face) * rng.uniform(0.75, 1.1))
    cloth = fabric_colour(rng)
    sleeve = print_texture(cloth, rng) if rng.random() < 0.3 else plain_texture(cloth)
    outline = capsule(elbow, hand, rng.uniform(0.3, 0.5))
    paint(canvas, face, outline, skin if is_bare else sleeve, rng, keep_light=0.4)


def _draw_tissue(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A handkerchief or a towel, crumpled, that a hand holds to nose and mouth."""
    skin = plain_texture(_skin_colour(canvas, face) * rng.uniform(0.8, 1.08))
    middle = np.array([rng.uniform(-0.2, 0.2), rng.uniform(0.9, 1.15)])
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    around[:, 1] *= np.where(around[:, 1] > 0, rng.uniform(0.9, 1.8), 0.7)
    outline = middle + rng.uniform(0.6, 1.0) * rng.uniform(0.7, 1.2, (9, 1)) * around
    outline[:, 1] = np.maximum(outline[:, 1], rng.uniform(0.35, 0.6, 9))  # the eyes see
    is_paper = rng.random() < 0.6
    colour = np.full(3, rng.uniform(190, 255)) if is_paper else fabric_colour(rng)
    folds = rng.uniform(2, 9, (3, 2)) * rng.choice([-1, 1], (3, 2))
    phases = rng.uniform(0, 2 * np.pi, 3)

    def crumpled(u: FloatArray, v: FloatArray) -> FloatArray:
        waves = (np.abs(np.sin(a * u + b * v + c)) for (a, b), c in zip(folds, phases, strict=True))
        shade = 0.72 + 0.28 * sum(waves) / len(folds)
        return np.asarray(shade[..., None] * colour, dtype=np.float32)

    paint(canvas, face, smooth(outline), crumpled, rng, keep_light=0.4)
    side = rng.choice([-1.0, 1.0])
    for finger in range(rng.integers(2, 5)):
        start = middle + np.array([side * 0.75, 0.75 - 0.26 * finger])
        end = start - np.array([side * rng.uniform(0.45, 0.8), rng.uniform(0.0, 0.25)])
        paint(canvas, face, capsule(start, end, 0.12), skin, rng, keep_light=0.3)


def _draw_scarf(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    top = rng.uniform(1.15, 1.45)
    outline = np.array([[-1.5, top - 0.3], [0, top], [1.5, top - 0.3], [1.8, 2.8], [-1.8, 2.8]])
    texture = print_texture(fabric_colour(rng), rng)
    paint(canvas, face, smooth(outline + rng.normal(0, 0.06, (5, 2))), texture, rng)


def _draw_cup(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    top, height, width = rng.uniform(0.7, 0.95), rng.uniform(0.9, 1.4), rng.uniform(0.35, 0.55)
    outline = np.array([[-width, 0], [width, 0], [0.75 * width, height], [-0.75 * width, height]])
    outline += [rng.uniform(-0.15, 0.15), top]
    paint(canvas, face, smooth(outline, 1), plain_texture(rng.uniform(30, 250, size=3)), rng, keep_light=0.2)


def _draw_microphone(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    head = np.array([rng.uniform(-0.25, 0.25), rng.uniform(1.0, 1.25)], dtype=np.float32)
    foot = head + np.array([rng.uniform(-0.6, 0.6), 1.6], dtype=np.float32)
    dark = plain_texture(np.full(3, rng.uniform(10, 90)))
    paint(canvas, face, capsule(head, foot, 0.12), dark, rng, keep_light=0.2)
    paint(canvas, face, capsule(head, head + np.float32(0.02), 0.3), dark, rng, keep_light=0.2)


def _draw_card(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """A sheet, book or telephone held before the lower face: straight edges, unlike any mask's."""
    width, height = rng.uniform(0.8, 1.8), rng.uniform(0.8, 1.6)
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]])
    angle = rng.uniform(-0.4, 0.4)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline = corners @ turn + [rng.uniform(-0.4, 0.4), rng.uniform(0.75, 1.0) + height]
    texture = print_texture(rng.uniform(5, 250, 3), rng) if rng.random() < 0.5 else None
    paint(canvas, face, outline, texture or plain_texture(rng.uniform(5, 250, 3)), rng, keep_light=0.2)


def _draw_beard(canvas: Image, face: FaceFrame, rng: np.random.Generator) -> None:
    """Cheeks, upper lip and chin covered by hair, dark, grey or white, short or long, the mouth left free."""
    half = np.array(
        [[0, 0.80], [0.35, 0.84], [0.62, 0.95], [0.98, 0.55], [0.95, 1.15], [0.5, 1.75], [0, 1.9]]
    )
    half[-2:, 1] += rng.choice([0.0, 0.0, rng.uniform(0.1, 0.7)])
    outline = smooth(both_sides(half))
    hair = np.array([28, 22, 18]) * rng.uniform(0.6, 1.6) + rng.choice([0, 0, 90, rng.uniform(110, 190)])
    density = rng.uniform(0.75, 0.95)
    skin = _skin_colour(canvas, face)
    seed = rng.integers(2**31)

    def hairy(u: FloatArray, v: FloatArray) -> FloatArray:
        noise = np.random.default_rng(seed).normal(0, 1, size=u.shape).astype(np.float32)
        strands = cv2.GaussianBlur(noise, (0, 0), 0.5, sigmaY=1.5)
        mouth = np.exp(-((u / 0.36) ** 4) - (((v - 1.03) / 0.09) ** 4))
        share = np.clip(density + 0.12 * strands - mouth, 0, 1)[..., None]
        lips = skin * [0.95, 0.75, 0.75]
        return np.asarray(share * hair + (1 - share) * lips, dtype=np.float32)

    paint(canvas, face, outline, hairy, rng, keep_light=0.5)


_OCCLUDERS: Final[dict[OccluderKind, Drawing]] = {
    "hand": _draw_hand,
    "arm": _draw_arm,
    "tissue": _draw_tissue,
    "scarf": _draw_scarf,
    "cup": _draw_cup,
    "microphone": _draw_microphone,
    "card": _draw_card,
    "beard": _draw_beard,
}

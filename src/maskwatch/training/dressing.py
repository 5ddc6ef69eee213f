"""Who can wear what without covering a neighbour, in training samples and in pictures to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Final

import numpy as np
import numpy.typing as npt

from maskwatch import boxes, synthesis
from maskwatch.datasets import LabelledImage
from maskwatch.frames import Image
from maskwatch.labels import WITHOUT_MASK
from maskwatch.training.prepare import FaceFinder, known, prepare, read_bgr

FloatArray = npt.NDArray[np.float32]
LEAST_PX: Final = 10.0
"""Smaller faces get nothing drawn on."""
OUTFITS: Final[dict[str, tuple[synthesis.GearKind, ...]]] = {
    "as it is": (),
    **{kind: (kind,) for kind in synthesis.GEAR_KINDS},
    "hood and goggles": ("hood", "goggles"),
    "cap and shield": ("cap", "shield"),
    "helmet and sunglasses": ("helmet", "sunglasses"),
}
"""What is measured: what everybody in a picture wears, by name."""
_CLOSE: Final[tuple[synthesis.GearKind, ...]] = ("glasses", "sunglasses", "goggles")


def random_gear(
    rng: np.random.Generator, *, alone: bool, guard_share: float = 0.0
) -> list[synthesis.GearKind]:
    """Something for the eyes, for the head or for both; nothing that reaches far where others are near.

    `guard_share` of what may reach far are guards, the hardest; the rest are any kind.
    """
    if not alone:
        return [_CLOSE[rng.integers(len(_CLOSE))]]
    if guard_share and rng.random() < guard_share:
        return ["guard"]
    eyewear = synthesis.EYEWEAR_KINDS[rng.integers(len(synthesis.EYEWEAR_KINDS))]
    headwear = synthesis.HEADWEAR_KINDS[rng.integers(len(synthesis.HEADWEAR_KINDS))]
    choices: tuple[list[synthesis.GearKind], ...] = ([eyewear], [headwear], [headwear, eyewear])
    return choices[rng.integers(len(choices))]


def fit_to_draw_on(xyxy: FloatArray, landmarks: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the faces (n, 4) px are large enough, and have landmarks (n, 5, 2), to be drawn on."""
    return known(landmarks) & (boxes.size(xyxy) >= LEAST_PX)


def is_alone(face: int | np.integer, xyxy: FloatArray) -> bool:
    """Whether nothing that is worn on this head can cover another of the faces (n, 4)."""
    reach = synthesis.HEAD_REACH * (xyxy[face, 2:] - xyxy[face, :2]).max()
    head = xyxy[face] + np.array([-reach, -reach, reach, reach], np.float32)
    apart = (np.maximum(head[:2], xyxy[:, :2]) >= np.minimum(head[2:], xyxy[:, 2:])).any(axis=1)
    return bool(np.delete(apart, face).all())


def landmarks_of(images: Sequence[LabelledImage], finder: FaceFinder) -> list[FloatArray]:
    """Landmarks (n, 5, 2) px of each picture's faces, NaN where `finder` finds none.

    Raises:
        TrainingError: a picture cannot be read.
    """
    found = {image.path.name: finder.find(read_bgr(image.path)) for image in images}
    prepared = prepare(images, found)
    return [one.landmarks[: len(image.faces)] for one, image in zip(prepared, images, strict=True)]


def in_outfit(
    images: Sequence[LabelledImage],
    pictures: Sequence[Image],
    landmarks: Sequence[FloatArray],
    kinds: Sequence[synthesis.GearKind],
) -> list[Image]:
    """The `pictures` of `images` with `kinds` on every face, the same each time."""
    return [
        dressed(pixels, image.faces.xyxy, points, kinds, np.random.default_rng(number))
        for number, (image, pixels, points) in enumerate(zip(images, pictures, landmarks, strict=True))
    ]


def behind(
    images: Sequence[LabelledImage],
    pictures: Sequence[Image],
    landmarks: Sequence[FloatArray],
    kind: synthesis.OccluderKind,
) -> list[Image]:
    """The `pictures` of `images` with a thing before every bare face with landmarks, the same each time."""
    changed = []
    for number, (image, pixels, points) in enumerate(zip(images, pictures, landmarks, strict=True)):
        is_bare = fit_to_draw_on(image.faces.xyxy, points) & (image.faces.label == WITHOUT_MASK)
        draw = partial(synthesis.draw_occluder, kind=kind, rng=np.random.default_rng(number))
        changed.append(reduce(draw, points[is_bare], pixels))
    return changed


def with_dark_skin(
    images: Sequence[LabelledImage], pictures: Sequence[Image], landmarks: Sequence[FloatArray]
) -> list[Image]:
    """The `pictures` of `images` with the darkest skin on every face that has landmarks (n, 5, 2) px."""
    return [
        reduce(synthesis.darken_skin, points[fit_to_draw_on(image.faces.xyxy, points)], pixels)
        for image, pixels, points in zip(images, pictures, landmarks, strict=True)
    ]


def dressed(
    pixels: Image,
    xyxy: FloatArray,
    landmarks: FloatArray,
    kinds: Sequence[synthesis.GearKind],
    rng: np.random.Generator,
) -> Image:
    """The picture (h, w, 3) with `kinds` on each of its faces (n, 4) px that has landmarks (n, 5, 2).

    Where others are near, only what stays within the face is drawn.
    """
    for face in np.flatnonzero(fit_to_draw_on(xyxy, landmarks)):
        alone = is_alone(face, xyxy)
        fitting = [kind for kind in kinds if alone or kind in _CLOSE]
        if fitting:
            pixels = synthesis.draw_gear(pixels, landmarks[face], kinds=fitting, rng=rng)
    return pixels

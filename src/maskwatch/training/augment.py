"""Photometric changes of one training sample: what cameras, codecs and bad light do to a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image

Change = Callable[[Image, np.random.Generator], Image]


def photometric(image: Image, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """A changed copy of an RGB picture; `strength` scales the chance of every change."""
    for share, change in _CHANGES:
        if rng.random() < share * strength:
            image = change(image, rng)
    return image


def odd_colours(image: Image, rng: np.random.Generator) -> Image:
    """A copy of an RGB picture whose colours tell little: a strange lamp, an infrared camera, a flash.

    Without them a network learns that masks are pale blue and skin is not, and fails where the light is red.
    """
    return _ODD_COLOURS[rng.integers(len(_ODD_COLOURS))](image, rng)


def grey(image: Image) -> Image:
    """An RGB picture without its colours, still of three channels."""
    lightness = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(lightness, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def jpeg_coded(image: Image, quality: int) -> Image:
    """A picture after a JPEG file of a `quality` from 0 to 100."""
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.uint8, copy=False)


def _with_table(image: Image, values: npt.NDArray[np.floating[Any]]) -> Image:
    return cv2.LUT(image, np.clip(values, 0, 255).astype(np.uint8)).astype(np.uint8, copy=False)


def _with_gains(image: npt.NDArray[Any], gains: npt.NDArray[np.floating[Any]]) -> Image:
    """Each channel times its own of three gains."""
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    return cv2.LUT(image, table).astype(np.uint8, copy=False)


def _tone(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast and gamma in one table."""
    level = np.arange(256) / 255
    level = level ** np.exp(rng.normal(0, 0.25))
    return _with_table(image, ((level - 0.5) * rng.uniform(0.65, 1.35) + 0.5 + rng.normal(0, 0.1)) * 255)


def _low_light(image: Image, rng: np.random.Generator) -> Image:
    """Under-exposed, then noisy."""
    level = np.arange(256) / 255
    dark = _with_table(image, 255 * rng.uniform(0.12, 0.5) * level ** rng.uniform(0.9, 1.4))
    return _noise(dark, rng)


def _colour(image: Image, rng: np.random.Generator) -> Image:
    """Hue, saturation and the balance of the channels."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue, saturation, value = cv2.split(hsv)
    hue = ((hue.astype(np.int16) + int(rng.integers(-9, 10))) % 180).astype(np.uint8)
    saturation = _with_table(saturation.astype(np.uint8, copy=False), np.arange(256) * rng.uniform(0.45, 1.5))
    out = cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB)
    return _with_gains(out, np.exp(rng.normal(0, 0.07, size=3)))


def _coloured_light(image: Image, rng: np.random.Generator) -> Image:
    """Lamps of one colour, as on a stage or beside a screen; never brighter than white light."""
    gains = rng.uniform(0.15, 1.0, size=3)
    gains[rng.integers(3)] = 1.0
    return _with_gains(image, gains)


def _grey(image: Image, _: np.random.Generator) -> Image:
    return grey(image)


def _turned_hue(image: Image, rng: np.random.Generator) -> Image:
    """Any other colours."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.integers(180))) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)


def _swapped_channels(image: Image, rng: np.random.Generator) -> Image:
    return np.ascontiguousarray(image[..., rng.permutation(3)])


def _burnt_out(image: Image, rng: np.random.Generator) -> Image:
    """Over-exposed: what is light has no drawing left."""
    return _with_table(image, np.arange(256) * rng.uniform(1.2, 2.2) + rng.uniform(0, 40))


def _defocus(image: Image, rng: np.random.Generator) -> Image:
    sigma = rng.uniform(0.3, 1.0) * image.shape[1] / 256
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8, copy=False)


def _motion(image: Image, rng: np.random.Generator) -> Image:
    length = int(rng.integers(3, 8)) * max(1, image.shape[1] // 256)
    kernel = np.zeros((length, length), dtype=np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length)).astype(np.float32, copy=False)
    kernel /= max(float(kernel.sum()), 1e-3)
    return cv2.filter2D(image, -1, kernel).astype(np.uint8, copy=False)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    """Gaussian sensor noise, drawn once on a tile to save time."""
    side = 128
    tile = rng.normal(0, rng.uniform(3, 14), size=(side, side, 3)).astype(np.int16)
    repeats = (-(-image.shape[0] // side), -(-image.shape[1] // side), 1)
    noise = np.tile(tile, repeats)[: image.shape[0], : image.shape[1]]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _coarse(image: Image, rng: np.random.Generator) -> Image:
    """Shrunk and enlarged again, as a thumbnail or a digital zoom."""
    height, width = image.shape[:2]
    share = rng.uniform(0.45, 0.85)
    way = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)[rng.integers(3)]
    small = cv2.resize(image, (max(8, int(width * share)), max(8, int(height * share))), interpolation=way)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _jpeg(image: Image, rng: np.random.Generator) -> Image:
    return jpeg_coded(image, int(rng.integers(25, 90)))


def _shadow(image: Image, rng: np.random.Generator) -> Image:
    """Light that falls off across the picture: back light, a lamp at one side."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.5, 1.35, size=(2, 2)).astype(np.float32)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


_CHANGES: tuple[tuple[float, Change], ...] = (
    (0.15, _defocus),
    (0.06, _motion),
    (0.12, _coarse),
    (0.55, _tone),
    (0.12, _shadow),
    (0.40, _colour),
    (0.06, _coloured_light),
    (0.06, _grey),
    (0.08, _low_light),
    (0.10, _noise),
    (0.25, _jpeg),
)

_ODD_COLOURS: tuple[Change, ...] = (_coloured_light, _grey, _turned_hue, _swapped_channels, _burnt_out)

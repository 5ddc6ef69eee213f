"""Real cloth for drawn masks: the middle of a mask that somebody wears in a photo, with folds and light."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.frames import Image
from maskwatch.synthesis.geometry import FaceFrame, FloatArray
from maskwatch.synthesis.paint import Texture

_BREADTH: Final = 0.6
_TOP, _BOTTOM = 0.5, 1.4
"""Of the wearer's face, the part in (u, v) that any mask worn well covers."""


class Cloth(NamedTuple):
    """A photo (h, w, 3) RGB, and the landmarks (5, 2) px of a face in it that wears a mask."""

    image: Image
    landmarks: FloatArray


def photographed_texture(cloth: Cloth, half: npt.NDArray[np.floating]) -> Texture:
    """The cloth stretched over a mask with the right half `half` (n, 2) of its outline in (u, v).

    Raises:
        OptionError: its landmarks are no upright face's.
    """
    wearer = FaceFrame.from_landmarks(cloth.landmarks)
    breadth, top, bottom = float(half[:, 0].max()), float(half[0, 1]), float(half[-1, 1])

    def photographed(u: FloatArray, v: FloatArray) -> FloatArray:
        down = np.clip((v - top) / (bottom - top), 0, 1)
        from_u = np.clip(u / breadth, -1, 1) * _BREADTH
        from_v = _TOP + down * (_BOTTOM - _TOP)
        x, y = wearer.to_pixels(np.stack([from_u.ravel(), from_v.ravel()], axis=1)).T
        pixels = cv2.remap(
            cloth.image,
            x.reshape(u.shape) - 0.5,
            y.reshape(u.shape) - 0.5,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return pixels.astype(np.float32)

    return photographed

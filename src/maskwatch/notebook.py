"""`show`: a picture with its faces, as a notebook displays it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from maskwatch.annotate import annotate, blur_faces
from maskwatch.codec import ImageSource, encode_image, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import MissingExtraError
from maskwatch.frames import Image

if TYPE_CHECKING:
    import PIL.Image

LARGEST_SIDE: Final = 480
"""Pictures in a notebook are scaled down to this side: each is stored in the notebook's file."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An annotated picture and its faces; what `show` gives.

    Attributes:
        image: (h, w, 3) uint8 RGB with boxes, badges and words, as large as the original.
        detections: the faces.
    """

    image: Image
    detections: Detections

    def to_pil(self) -> PIL.Image.Image:
        """The annotated picture for Pillow.

        Raises:
            MissingExtraError: Pillow is not installed.
        """
        try:
            import PIL.Image
        except ImportError as error:
            raise MissingExtraError("Shown.to_pil() needs Pillow: pip install pillow") from error
        return PIL.Image.fromarray(self.image)

    def _repr_html_(self) -> str:
        """The picture, scaled to at most 480 px, above the table of its faces."""
        height, width = self.image.shape[:2]
        scale = min(1.0, LARGEST_SIDE / max(height, width))
        small = self.image
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        data = base64.b64encode(encode_image(small, ".jpg")).decode("ascii")
        picture = f'<img alt="{len(self.detections)} faces" src="data:image/jpeg;base64,{data}">'
        return f"<div>{picture}{self.detections._repr_html_()}</div>"


def show(image: ImageSource, detections: Detections, *, blur: bool = False) -> Shown:
    """The picture with its faces drawn in; a notebook displays what this gives.

    `image` is what the detector was given: a path, bytes, a PIL image, an RGB array or a `Frame`. With
    `blur` nobody can be recognised in it.

    Raises:
        ImageError: it cannot be read.

    Examples:
        >>> from maskwatch import Detector, show
        >>> shown = show("people.jpg", Detector().detect("people.jpg"))
        >>> shown.to_pil().size == shown.image.shape[1::-1]
        True
        >>> shown._repr_html_()[:10]
        '<div><img '
    """
    original = read_picture(image).image
    if blur:
        original = blur_faces(original, detections)
    return Shown(annotate(original, detections), detections)

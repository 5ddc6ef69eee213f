"""`Frame`: one picture on its way through maskwatch, and `ImageFile`: one still on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwatch.errors import ImageError

Image = npt.NDArray[np.uint8]
"""(h, w, 3) uint8 RGB. BGR exists only at a library's edge."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, where it came from and when.

    Attributes:
        image: (h, w, 3) uint8 RGB, upright.
        index: number of the frame in its source, from 0.
        pts_s: presentation time in seconds since the source's start.
        source_id: name of the source, for example a path.

    Raises:
        ImageError: `image` has another shape or type.

    Examples:
        >>> import numpy as np
        >>> from maskwatch import Frame
        >>> frame = Frame(np.zeros((480, 640, 3), np.uint8), index=12, pts_s=0.4, source_id="door")
        >>> frame.size_wh
        (640, 480)
    """

    image: Image
    index: int = 0
    pts_s: float = 0.0
    source_id: str = ""

    def __post_init__(self) -> None:
        check_image(self.image, self.source_id or "Frame.image")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class ImageFile:
    """One picture to be read.

    Attributes:
        path: the file.
        relative: its name below the folder it was found in; outputs keep that order of folders.
    """

    path: Path
    relative: Path


def check_image(image: object, name: str) -> Image:
    """Return `image` if it is an (h, w, 3) uint8 array with pixels; `name` it in the error else.

    Raises:
        ImageError: it is not.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"{name}: {type(image).__name__} is no picture; pass an RGB array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(
            f"{name}: an array of shape {image.shape} and type {image.dtype} is no picture; "
            "pass height × width × 3 in uint8 RGB"
        )
    return image

"""Draw detections on a picture: (image, Detections) → new image, nothing else.

Colour is never the only sign: each verdict has its own line, badge and word, so that prints in
grey and readers who do not tell red from green lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.detections import Detections
from maskwatch.frames import Image, check_image
from maskwatch.labels import MASK_WORN_INCORRECTLY, UNCERTAIN, WITH_MASK, WITHOUT_MASK

Colour = tuple[int, int, int]
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_TEXT_PX: Final = 28
"""Faces narrower than this get a badge but no words: they would cover their neighbours."""


@dataclass(frozen=True)
class _Style:
    """How one verdict looks: RGB colour, words, dashes (on, off) in line widths or None."""

    colour: Colour
    words: str
    dashes: tuple[float, float] | None
    doubled: bool


_STYLES: Final[dict[int, _Style]] = {
    WITH_MASK: _Style((0, 150, 70), "mask", None, False),
    WITHOUT_MASK: _Style((214, 30, 40), "no mask", None, True),
    MASK_WORN_INCORRECTLY: _Style((240, 140, 0), "worn wrong", (6, 4), False),
    UNCERTAIN: _Style((120, 120, 130), "uncertain", (1.5, 2.5), False),
}


def annotate(image: Image, detections: Detections, *, with_score: bool = True) -> Image:
    """A copy of `image` (h, w, 3) RGB with a box, a badge and words for each face.

    Line width and text follow the picture's size. Weak faces are drawn first, sure ones over them.

    Raises:
        ImageError: `image` is no RGB picture.

    Examples:
        >>> import cv2
        >>> from maskwatch import Detector, annotate
        >>> image = cv2.imread("people.jpg")[:, :, ::-1].copy()  # RGB
        >>> drawn = annotate(image, Detector().detect(image))
        >>> drawn.shape == image.shape, bool((drawn == image).all())
        (True, False)
    """
    canvas = check_image(image, "annotate(image)").copy()
    base = max(canvas.shape[:2])
    width = max(2, round(base / 350))
    for row in range(len(detections) - 1, -1, -1):
        style = _STYLES[int(detections.verdict[row])]
        box = detections.xyxy[row].round().astype(int)
        face_width = int(box[2] - box[0])
        line = int(np.clip(min(width, face_width / 10), 1, width))
        _box(canvas, box, style, line)
        words = style.words
        if detections.track_id[row] >= 0:
            words = f"#{detections.track_id[row]} {words}"
        if with_score:
            words = f"{words} {detections.score[row]:.0%}"
        _tag(canvas, box, style, words if face_width >= _SMALLEST_TEXT_PX else "", base)
    return canvas


def blur_faces(image: Image, detections: Detections, *, margin: float = 0.15) -> Image:
    """A copy of `image` in which every face, grown by `margin` of its size, cannot be recognised.

    The face is reduced to a few blocks and then smoothed, inside an ellipse; what is left of it
    does not depend on the picture's resolution.

    Raises:
        ImageError: `image` is no RGB picture.

    Examples:
        >>> import cv2
        >>> from maskwatch import Detector, blur_faces
        >>> image = cv2.imread("people.jpg")[:, :, ::-1].copy()  # RGB
        >>> anonymous = blur_faces(image, Detector().detect(image))
        >>> anonymous.shape == image.shape, bool((anonymous == image).all())
        (True, False)
    """
    canvas = check_image(image, "blur_faces(image)").copy()
    height, width = canvas.shape[:2]
    for x1, y1, x2, y2 in detections.xyxy:
        grow_x, grow_y = (x2 - x1) * margin, (y2 - y1) * margin
        left, top = max(0, int(x1 - grow_x)), max(0, int(y1 - grow_y))
        right, bottom = min(width, int(np.ceil(x2 + grow_x))), min(height, int(np.ceil(y2 + grow_y)))
        if right <= left or bottom <= top:
            continue
        window = canvas[top:bottom, left:right]
        blocks = cv2.resize(window, (6, 6), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(blocks, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
        inside = np.zeros(window.shape[:2], dtype=np.uint8)
        centre = ((right - left) // 2, (bottom - top) // 2)
        cv2.ellipse(inside, centre, (centre[0] + 1, centre[1] + 1), 0, 0, 360, 255, -1)
        window[inside > 0] = smooth[inside > 0]
    return canvas


def _box(canvas: Image, box: npt.NDArray[np.integer], style: _Style, line: int) -> None:
    """A rectangle in the verdict's own line, on a thin white edge that any background shows."""
    x1, y1, x2, y2 = (int(value) for value in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), (255, 255, 255), line + 2)
    if style.dashes is None:
        cv2.rectangle(canvas, (x1, y1), (x2, y2), style.colour, line)
    else:
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
        for start, end in pairwise(corners):
            _dashed(canvas, start, end, style, line)
    if style.doubled and x2 - x1 > 10 * line:
        gap = 2 * line + 1
        cv2.rectangle(canvas, (x1 + gap, y1 + gap), (x2 - gap, y2 - gap), style.colour, max(1, line // 2))


def _dashed(canvas: Image, start: tuple[int, int], end: tuple[int, int], style: _Style, line: int) -> None:
    assert style.dashes is not None
    on, off = (max(2.0, part * line) for part in style.dashes)
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    for at in np.arange(0, length, on + off):
        share = np.array([at, min(at + on, length)]) / max(length, 1e-6)
        points = np.array(start) + share[:, None] * (np.array(end) - np.array(start))
        first, second = points.round().astype(int).tolist()
        cv2.line(canvas, tuple(first), tuple(second), style.colour, line)


def _tag(canvas: Image, box: npt.NDArray[np.integer], style: _Style, words: str, base: int) -> None:
    """A filled strip above the box (below, where there is no room) with the badge and the words."""
    x1, y1, x2, y2 = (int(value) for value in box)
    scale = float(np.clip(min(base / 1100, (x2 - x1) / 110), 0.34, 3.0))
    thickness = max(1, round(scale * 1.7))
    (text_width, text_height), _ = cv2.getTextSize(words or "x", _FONT, scale, thickness)
    side = text_height + 2 * thickness + 4 if words else int(np.clip((x2 - x1) / 2.2, 6, 18))
    strip_width = side + (text_width + 6 if words else 0)
    left = int(np.clip(x1, 0, max(0, canvas.shape[1] - strip_width)))
    top = y1 - side if y1 >= side else min(y2, canvas.shape[0] - side)
    cv2.rectangle(canvas, (left, top), (left + strip_width, top + side), style.colour, -1)
    _BADGES[style.words](canvas, left, top, side, max(1, side // 8))
    if words:
        place = (left + side + 2, top + side - thickness - 3)
        cv2.putText(canvas, words, place, _FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)


def _strokes(*strokes: tuple[tuple[float, float], ...]) -> Callable[[Image, int, int, int, int], None]:
    """A badge made of white strokes in shares of its side."""

    def draw(canvas: Image, left: int, top: int, side: int, line: int) -> None:
        for stroke in strokes:
            points = (np.array(stroke) * side + [left, top]).round().astype(np.int32)
            cv2.polylines(canvas, [points], False, (255, 255, 255), line, cv2.LINE_AA)

    return draw


_BADGES: Final[dict[str, Callable[[Image, int, int, int, int], None]]] = {
    "mask": _strokes(((0.2, 0.55), (0.42, 0.78), (0.82, 0.25))),  # tick
    "no mask": _strokes(((0.22, 0.22), (0.78, 0.78)), ((0.78, 0.22), (0.22, 0.78))),  # cross
    "worn wrong": _strokes(((0.5, 0.15), (0.5, 0.6)), ((0.5, 0.78), (0.5, 0.84))),  # exclamation mark
    "uncertain": _strokes(
        ((0.28, 0.32), (0.38, 0.18), (0.62, 0.18), (0.72, 0.32), (0.5, 0.52), (0.5, 0.62)),
        ((0.5, 0.8), (0.5, 0.86)),
    ),  # question mark
}

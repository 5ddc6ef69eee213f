"""Pictures to tensors and outputs back to `Detections`; the browser's codec.js does the same.

Pictures come as a path, encoded bytes, a PIL image, an RGB array or a `Frame`. The network sees
uint8 RGB, scaled down to at most `max_side` and padded at the right and the bottom with zeros.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.detections import Detections
from maskwatch.errors import ImageError, OptionError
from maskwatch.frames import Frame, Image, check_image
from maskwatch.labels import UNCERTAIN

if TYPE_CHECKING:
    import PIL.Image

ImageSource = Union[str, "os.PathLike[str]", bytes, npt.NDArray[np.uint8], "PIL.Image.Image", Frame]

LARGEST_PIXELS = 178_956_970
"""A picture of more pixels is refused before it is decoded (Pillow's error limit)."""

LARGE_FACE_PX = 256.0
"""From this size in the letterboxed picture on, parts of a face may look like faces."""

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, perhaps at reduced scale.

    Attributes:
        image: (h, w, 3) uint8 RGB, upright.
        size_wh: width and height of the original in px, upright.
        name: what errors call it.
    """

    image: Image
    size_wh: tuple[int, int]
    name: str


@dataclass(frozen=True, eq=False)
class Letterboxed:
    """A picture as the network sees it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, H and W multiples of the network's largest stride.
        content_wh: the part of it that holds the picture, from the top left, in px.
        size_wh: the original's size in px.
    """

    pixels: Image
    content_wh: tuple[int, int]
    size_wh: tuple[int, int]


def read_picture(source: ImageSource, *, needed_side: int | None = None) -> Picture:
    """Decode one picture. A JPEG is decoded at 1/2, 1/4 or 1/8 if `needed_side` px remain.

    EXIF orientation is applied to encoded pictures and PIL images; arrays are taken as they are.

    Raises:
        ImageError: it cannot be read, is none, or has too many pixels.
    """
    if isinstance(source, Frame):
        return Picture(source.image, source.size_wh, source.source_id or "frame")
    if isinstance(source, np.ndarray):
        image = _rgb_of_array(source)
        return Picture(image, (image.shape[1], image.shape[0]), "array")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), "bytes", needed_side)
    if isinstance(source, str | os.PathLike):
        return _decode(_read_file(Path(source)), str(source), needed_side)
    if hasattr(source, "convert") and hasattr(source, "getexif"):
        return _picture_of_pil(source)
    raise ImageError(
        f"{type(source).__name__} is no picture; pass a path, bytes, a PIL image or an RGB array"
    )


def letterbox(picture: Picture, *, max_side: int, size_multiple: int) -> Letterboxed:
    """Scale `picture` down to at most `max_side` px, never up, and pad it to `size_multiple`."""
    width, height = picture.size_wh
    scale = min(1.0, max_side / max(width, height))
    content_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = picture.image
    if (image.shape[1], image.shape[0]) != content_wh:
        image = cv2.resize(image, content_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    padded_wh = [-(-side // size_multiple) * size_multiple for side in content_wh]
    pixels = np.zeros((padded_wh[1], padded_wh[0], 3), dtype=np.uint8)
    pixels[: content_wh[1], : content_wh[0]] = image
    return Letterboxed(pixels, content_wh, picture.size_wh)


def detections_of(
    letterboxed: Sequence[Letterboxed],
    outputs: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]],
    *,
    certainty_threshold: float,
) -> list[Detections]:
    """Outputs of the network for a batch, as one `Detections` a picture in original pixels.

    `outputs` are, for m faces of the whole batch: the picture's index (m,), the box xyxy (m, 4) in
    the letterboxed picture's pixels, and the label scores (m, 3). Faces come best first. A face
    too large for the network's full look is found by its look at a quarter of the sides (see
    `training.export`); what the full look takes for faces in its cheeks is left out.
    """
    index, xyxy, label_scores = outputs
    results = []
    for number, one in enumerate(letterboxed):
        rows = np.flatnonzero(index == number)
        scores = label_scores[rows]
        rows = rows[np.argsort(-scores.max(axis=1, initial=0), kind="stable")]
        rows = rows[~boxes.parts(xyxy[rows], LARGE_FACE_PX)]
        scores = label_scores[rows]
        factor = np.tile(np.array(one.size_wh) / np.array(one.content_wh), 2).astype(np.float32)
        label = scores.argmax(axis=1).astype(np.int8) if len(rows) else np.zeros(0, np.int8)
        share = scores.max(axis=1, initial=0) / np.maximum(scores.sum(axis=1), 1e-9)
        results.append(
            Detections(
                xyxy=boxes.clip(xyxy[rows] * factor, one.size_wh),
                score=scores.max(axis=1, initial=0),
                label=label,
                label_scores=scores,
                verdict=np.where(share >= certainty_threshold, label, UNCERTAIN).astype(np.int8),
            )
        )
    return results


def picture_header(data: bytes) -> tuple[str, tuple[int, int]] | None:
    """Format ("jpeg", "png", "gif", "bmp" or "webp") and stored width and height; None for the rest.

    Read from the header, before anything is decoded.
    """
    size_wh: tuple[int, int] | None = None
    kind = ""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        kind, size_wh = "png", (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    elif data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        kind, size_wh = "gif", (int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    elif data[:2] == b"BM" and len(data) >= 26:
        width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        kind, size_wh = "bmp", (abs(width), abs(height))
    elif data[:2] == b"\xff\xd8":
        kind, size_wh = "jpeg", _jpeg_size(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        kind, size_wh = "webp", _webp_size(data)
    return None if size_wh is None else (kind, size_wh)


def encode_image(image: Image, suffix: str) -> bytes:
    """RGB picture (h, w, 3) to the bytes of a file with `suffix`, for example ".jpg".

    Raises:
        OptionError: OpenCV writes no such format.
    """
    try:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix.lower() in (".jpg", ".jpeg") else []
        done, coded = cv2.imencode(suffix, image[..., ::-1], quality)
    except cv2.error as error:
        raise OptionError(f"{suffix!r} is no picture format that can be written; use .jpg or .png") from error
    if not done:
        raise OptionError(f"{suffix!r} is no picture format that can be written; use .jpg or .png")
    return coded.tobytes()


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageError(f"{path}: cannot be read ({reason}); check the path") from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(f"{str(path)!r}: no path ({error})") from error


def _rgb_of_array(array: npt.NDArray[Any]) -> Image:
    """Accept grey (h, w) and (h, w, 1) and RGBA (h, w, 4) beside RGB, all in uint8."""
    if array.dtype == np.uint8 and 0 not in array.shape:
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
            array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
        elif array.ndim == 3 and array.shape[2] == 4:
            array = array[..., :3]
    return np.ascontiguousarray(check_image(array, "array"))


def _picture_of_pil(image: Any) -> Picture:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"PIL image: cannot be decoded ({error}); the file is damaged") from error
    array = np.asarray(upright, dtype=np.uint8)
    return Picture(array, upright.size, getattr(image, "filename", "") or "PIL image")


def _decode(data: bytes, name: str, needed_side: int | None) -> Picture:
    header = picture_header(data)
    header_wh = None if header is None else header[1]
    if header_wh is not None and header_wh[0] * header_wh[1] > LARGEST_PIXELS:
        raise ImageError(
            f"{name}: {header_wh[0]}×{header_wh[1]} pixels are more than the limit of "
            f"{LARGEST_PIXELS:,}; scale it down first"
        )
    factor = 1
    if header_wh is not None and needed_side is not None and data[:2] == b"\xff\xd8":
        factor = next(f for f in _REDUCED if f == 1 or max(header_wh) // f >= needed_side)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _REDUCED[factor]) if data else None
    except cv2.error:
        decoded = None
    if decoded is None:
        what = "is empty" if not data else "is no picture that can be decoded"
        raise ImageError(f"{name}: {what}; it may be damaged or cut off")
    image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    height, width = image.shape[:2]
    if factor == 1 or header_wh is None:
        return Picture(image, (width, height), name)
    turned = header_wh[::-1]  # EXIF orientation may have swapped the sides
    as_stored = abs(header_wh[0] / factor - width) + abs(header_wh[1] / factor - height)
    as_turned = abs(turned[0] / factor - width) + abs(turned[1] / factor - height)
    return Picture(image, header_wh if as_stored <= as_turned else (turned[0], turned[1]), name)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Size in a JPEG's start-of-frame segment (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (5, 7))
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Size in a WebP's first chunk: lossy, lossless or extended (RFC 9649)."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return width, height
    return None

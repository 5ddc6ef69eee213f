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
from maskwatch.files import read_bytes
from maskwatch.frames import Frame, Image, check_image
from maskwatch.labels import UNCERTAIN
from maskwatch.picture_header import read_header
from maskwatch.suggest import did_you_mean, neighbours

if TYPE_CHECKING:
    import PIL.Image

LARGEST_FILE_BYTES = 2**30
_NO_PICTURE = (
    "is no picture that can be decoded (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PNM); it may be "
    "damaged or cut off"
)

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


ImageSource = Union[str, "os.PathLike[str]", bytes, npt.NDArray[np.uint8], "PIL.Image.Image", Frame, Picture]


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


def read_picture(source: ImageSource, *, needed_side: int | None = None, name: str | None = None) -> Picture:
    """Decode one picture. A JPEG is decoded at 1/2, 1/4 or 1/8 if `needed_side` px remain.

    EXIF orientation is applied to encoded pictures and PIL images; arrays, and a `Picture`, are
    taken as they are. `name` is what errors call encoded bytes.

    Raises:
        ImageError: it cannot be read, is none, or has too many pixels.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Frame):
        return Picture(source.image, source.size_wh, source.source_id or "frame")
    if isinstance(source, np.ndarray):
        image = _rgb_of_array(source)
        return Picture(image, (image.shape[1], image.shape[0]), "array")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), name or "bytes", needed_side)
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


def encode_image(image: Image, suffix: str) -> bytes:
    """RGB picture (h, w, 3) to the bytes of a file with `suffix`, for example ".jpg".

    Raises:
        OptionError: OpenCV writes no such format.
        ImageError: the picture is too large for it.
    """
    if not cv2.haveImageWriter(f"x{suffix}"):
        raise OptionError(f"{suffix!r} is no picture format that can be written; use .jpg or .png")
    try:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix.lower() in (".jpg", ".jpeg") else []
        done, coded = cv2.imencode(suffix, image[..., ::-1], quality)
    except (cv2.error, MemoryError):
        done, coded = False, np.zeros(0, np.uint8)
    if not done:
        size = f"{image.shape[1]}×{image.shape[0]}"
        raise ImageError(f"a picture of {size} px cannot be written as {suffix}; choose .png")
    return coded.tobytes()


def _read_file(path: Path) -> bytes:
    try:
        return read_bytes(path, LARGEST_FILE_BYTES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        means = did_you_mean(path.name, neighbours(path)) if isinstance(error, FileNotFoundError) else ""
        raise ImageError(f"{path}: cannot be read ({reason}); check the path{means}") from error
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
    except Exception as error:  # Pillow's decoders raise whatever their format runs into
        raise ImageError(f"PIL image: cannot be decoded ({error}); the file is damaged") from error
    array = np.asarray(upright, dtype=np.uint8)
    return Picture(array, upright.size, getattr(image, "filename", "") or "PIL image")


def _decode(data: bytes, name: str, needed_side: int | None) -> Picture:
    header = read_header(data)
    trouble = _NO_PICTURE if header is None else header.trouble
    if header is None or trouble:
        raise ImageError(f"{name}: {trouble if data else 'is empty; it may be cut off'}")
    header_wh, factor = header.size_wh, 1
    if needed_side is not None and header.kind == "JPEG":
        factor = next(f for f in _REDUCED if f == 1 or max(header_wh) // f >= needed_side)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _REDUCED[factor])
        if decoded is None:
            raise ImageError(f"{name}: {_NO_PICTURE}")
        image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f"{name}: {_NO_PICTURE}") from error
    height, width = image.shape[:2]
    if factor == 1:
        return Picture(image, (width, height), name)
    turned = header_wh[::-1]  # EXIF orientation may have swapped the sides
    as_stored = abs(header_wh[0] / factor - width) + abs(header_wh[1] / factor - height)
    as_turned = abs(turned[0] / factor - width) + abs(turned[1] / factor - height)
    return Picture(image, header_wh if as_stored <= as_turned else (turned[0], turned[1]), name)

"""What a picture's header claims, read before any decoder allocates memory for it.

Only formats of this list are decoded. A decoder is asked for a picture whose size we know; what states
none, or one beyond the limit, is refused. Sources: ITU T.81 (JPEG), W3C PNG, GIF89a, TIFF 6.0 and
BigTIFF, ISO 15444-1 (JPEG 2000), RFC 9649 (WebP), ISO 23000-22 (AVIF), Netpbm.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LARGEST_PIXELS: Final = 178_956_970
"""A picture of more pixels is refused before it is decoded (Pillow's error limit)."""
LARGEST_SIDE: Final = 2**20
LARGEST_DECODED_BYTES: Final = 8 * LARGEST_PIXELS
"""Four channels of 16 bits: what a decoder may need besides, for a picture at the limit."""


@dataclass(frozen=True)
class PictureHeader:
    """A picture before it is decoded.

    Attributes:
        kind: its format, for example "JPEG".
        size_wh: width and height in px as stored, before any EXIF rotation.
        pixel_bytes: memory that its decoder takes for a pixel.
    """

    kind: str
    size_wh: tuple[int, int]
    pixel_bytes: int = 4

    @property
    def trouble(self) -> str:
        """Why it must not be decoded, in words; "" where nothing is wrong with it."""
        width, height = self.size_wh
        if width < 1 or height < 1:
            return f"its {self.kind} header states {width}×{height} pixels; it is damaged"
        pixels = width * height
        if pixels > LARGEST_PIXELS or max(width, height) > LARGEST_SIDE:
            return (
                f"{width}×{height} pixels are more than the limit of {LARGEST_PIXELS:,}; scale it down first"
            )
        if pixels * self.pixel_bytes > LARGEST_DECODED_BYTES:
            return (
                f"{width}×{height} pixels of {self.pixel_bytes} bytes would take more than "
                f"{LARGEST_DECODED_BYTES:,} bytes; save it with 8 bits a channel"
            )
        return ""


def read_header(data: bytes) -> PictureHeader | None:
    """The header of a picture of a known format; None for anything else, or without a readable size."""
    for magic, reader in _READERS:
        if magic.match(data):
            try:
                return reader(data)
            except (struct.error, ValueError, IndexError, OverflowError):
                return None
    return None


def _png(data: bytes) -> PictureHeader:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    channels = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(colour, 4)
    return PictureHeader("PNG", (width, height), max(4, channels * max(1, depth // 8)))


def _gif(data: bytes) -> PictureHeader:
    """The canvas, or the first picture where that is larger."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] == 0x21:  # extensions: a label, then blocks up to an empty one
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    if data[at] == 0x2C:
        left, top, own_width, own_height = struct.unpack_from("<HHHH", data, at + 1)
        width, height = max(width, left + own_width), max(height, top + own_height)
    return PictureHeader("GIF", (width, height))


def _bmp(data: bytes) -> PictureHeader:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes == 12:  # of OS/2
        return PictureHeader("BMP", struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return PictureHeader("BMP", (abs(width), abs(height)))


def _jpeg(data: bytes) -> PictureHeader | None:
    """Size in the start-of-frame segment (T.81, B.2.2); a progressive one needs 2 bytes a coefficient."""
    at = 2
    while at + 9 <= len(data):
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        marker = data[at + 1]
        if marker in (0x00, 0xFF, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # end, or pixels before any size
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack_from(">HHB", data, at + 5)
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            return PictureHeader("JPEG", (width, height), max(4, (3 if progressive else 1) * channels))
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _webp(data: bytes) -> PictureHeader | None:
    """Size in a WebP's first chunk: lossy, lossless or extended."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        return None
    return PictureHeader("WebP", (width, height))


_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff(data: bytes) -> PictureHeader | None:
    """Sizes in the first directory: of the picture and, where it is stored in tiles or strips, of those."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    at = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)[0]
    at += 8 if big else 2
    tags: dict[int, int] = {}
    for row in range(min(count, 4096)):
        entry = at + row * (20 if big else 12)
        tag, kind, values = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, entry)
        form = _TIFF_FORMATS.get(kind)
        if form is None or values < 1:
            continue
        place = entry + (12 if big else 8)
        if values * struct.calcsize(form) > (8 if big else 4):
            place = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, place)[0]
        tags.setdefault(tag, struct.unpack_from(f"{order}{form}", data, place)[0])
    if 256 not in tags or 257 not in tags:
        return None
    width, height = tags[256], tags[257]
    sample_bytes = max(1, -(-tags.get(258, 8) // 8)) * max(1, tags.get(277, 1))
    if 322 in tags or 323 in tags:  # a tile is decoded whole, however little of it shows
        width, height = max(width, tags.get(322, 0)), max(height, tags.get(323, 0))
    return PictureHeader("TIFF", (width, height), max(4, sample_bytes))


def _jpeg2000(data: bytes) -> PictureHeader | None:
    """Size in the code stream's SIZ segment (A.5.1); its decoder takes 4 bytes a sample."""
    at = 0
    if data[:4] != b"\xff\x4f\xff\x51":
        found = next((start for kind, start, _ in _boxes(data, 0, len(data)) if kind == b"jp2c"), None)
        if found is None or data[found : found + 4] != b"\xff\x4f\xff\x51":
            return None
        at = found
    x2, y2, x1, y1 = struct.unpack_from(">IIII", data, at + 8)
    tile_width, tile_height = struct.unpack_from(">II", data, at + 24)
    (channels,) = struct.unpack_from(">H", data, at + 40)
    if x1 > x2 or y1 > y2 or min(tile_width, tile_height) < 1:
        return None
    tiles = -(-x2 // tile_width) * -(-y2 // tile_height)
    if tiles > 65_535:
        return None
    return PictureHeader("JPEG 2000", (x2 - x1, y2 - y1), 4 * channels)


def _avif(data: bytes) -> PictureHeader | None:
    """The largest size that any item states (`ispe` in meta/iprp/ipco)."""
    sizes = [
        struct.unpack_from(">II", data, ispe + 4)
        for kind, start, end in _boxes(data, 0, len(data))
        if kind == b"meta"
        for kind2, start2, end2 in _boxes(data, start + 4, end)
        if kind2 == b"iprp"
        for kind3, start3, end3 in _boxes(data, start2, end2)
        if kind3 == b"ipco"
        for kind4, ispe, _ in _boxes(data, start3, end3)
        if kind4 == b"ispe"
    ]
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return PictureHeader("AVIF", (width, height), 8)


def _pnm(data: bytes) -> PictureHeader | None:
    found = _PNM_HEADER.match(data)
    if found is None:
        return None
    return PictureHeader("PNM", (int(found[1]), int(found[2])), 6)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the contents of ISO base media boxes in a row."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        stop = end if size == 0 else at + size
        if stop < at + head or stop > end:
            stop = end  # cut off: what there is of it may still tell the size
        yield kind, at + head, stop
        at = stop


_PNM_GAP = rb"(?:\s|#[^\n]{0,200}\n){1,20}"
_PNM_HEADER = re.compile(rb"P[1-6]" + _PNM_GAP + rb"(\d{1,9})" + _PNM_GAP + rb"(\d{1,9})\s")
_READERS: Final = tuple(
    (re.compile(magic, re.DOTALL), reader)
    for magic, reader in (
        (rb"\xff\xd8\xff", _jpeg),
        (rb"\x89PNG\r\n\x1a\n.{4}IHDR", _png),
        (rb"GIF8[79]a", _gif),
        (rb"RIFF.{4}WEBP", _webp),
        (rb"BM", _bmp),
        (rb"(?:II[\x2a\x2b]\x00|MM\x00[\x2a\x2b])", _tiff),
        (rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n", _jpeg2000),
        (rb".{4}ftyp(?=.{4,60}(?:avif|avis))", _avif),
        (rb"P[1-6]\s", _pnm),
    )
)
"""The formats that are read, by the bytes they start with."""

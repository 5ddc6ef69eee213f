"""Pictures and videos as they should not be, made here: what tests and `bad_media` feed to programs."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import PIL.Image
from skimage import data

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One bad (or only unusual) input.

    Attributes:
        name: what is wrong with it.
        path: the file.
        is_readable: whether a good program gets a picture, or frames, out of it.
        frames: of a readable video.
    """

    name: str
    path: Path
    is_readable: bool
    frames: int = 1


def portrait() -> Image:
    """(240, 320, 3): a public-domain face, bare."""
    image = np.full((240, 320, 3), 110, np.uint8)
    image[:, 60:260] = data.astronaut()[10:250, 110:310]  # type: ignore[no-untyped-call]
    return image


def encoded(kind: str, image: Any = None, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    made = PIL.Image.fromarray(portrait()) if image is None else image
    made.save(buffer, kind, **options)
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of zeros: a few hundred kilobytes that unpack to width · height bytes and more."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def tiff_bomb(width: int, height: int) -> bytes:
    """A TIFF whose strips are all the same few bytes: small without limit."""
    rows = 500
    strip = zlib.compress(bytes(width * rows), 9)
    strips = -(-height // rows)
    at, lists = 8, 8 + len(strip) + len(strip) % 2
    directory = lists + 8 * strips
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, strips, lists if strips > 1 else at),
        (277, 3, 1, 1),
        (278, 4, 1, rows),
        (279, 4, strips, lists + 4 * strips if strips > 1 else len(strip)),
    ]
    body = strip + b"\0" * (len(strip) % 2)
    body += struct.pack(f"<{strips}I", *[at] * strips) + struct.pack(f"<{strips}I", *[len(strip)] * strips)
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", directory) + body + table + bytes(4)


def bmp_bomb(width: int, height: int) -> bytes:
    """A run-length BMP that is over at once, and is a full picture all the same."""
    pixels = b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    palette = bytes(1024)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + palette + pixels


def pnm_bomb(width: int, height: int) -> bytes:
    """A header, and hardly anything behind it."""
    return b"P6\n%d %d\n255\n" % (width, height) + bytes(64)


def gif_bomb(width: int, height: int) -> bytes:
    """A canvas of any size with a picture of one pixel."""
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + one + b"\x3b"


def hdr_bomb(width: int, height: int) -> bytes:
    """A Radiance picture of one colour."""
    row = struct.pack(">BBH", 2, 2, width) + b"".join(b"\xff\x01" * (width // 127) for _ in range(4))
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width) + row * 4


BOMBS: dict[str, Callable[[int, int], bytes]] = {
    "png": png_bomb,
    "tif": tiff_bomb,
    "bmp": bmp_bomb,
    "ppm": pnm_bomb,
    "gif": gif_bomb,
    "hdr": hdr_bomb,
}


def pictures(folder: Path) -> Iterator[Case]:
    """Bad and unusual pictures, written below `folder`."""
    whole = encoded("JPEG")
    grey = PIL.Image.fromarray(portrait()).convert("L")
    rgba = PIL.Image.fromarray(portrait()).convert("RGBA")
    deep = PIL.Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6

    def put(name: str, file: str, content: bytes, readable: bool) -> Case:
        path = folder / file
        path.write_bytes(content)
        return Case(name, path, readable)

    yield put("JPEG cut off in the middle", "cut.jpg", whole[: len(whole) // 2], False)
    yield put("nothing in it", "empty.jpg", b"", False)
    yield put("text called .jpg", "text.jpg", b"this is no picture\n" * 50, False)
    yield put("PNG with a damaged middle", "damaged.png", _damaged(encoded("PNG")), False)
    yield put("CMYK JPEG", "cmyk.jpg", encoded("JPEG", grey.convert("CMYK")), True)
    yield put("16-bit PNG", "deep.png", encoded("PNG", deep), True)
    yield put("PNG with transparency", "alpha.png", encoded("PNG", rgba), True)
    yield put(
        "animated GIF", "moves.gif", encoded("GIF", grey, save_all=True, append_images=[grey] * 3), True
    )
    yield put(
        "animated WebP", "moves.webp", encoded("WEBP", rgba, save_all=True, append_images=[rgba] * 3), True
    )
    yield put("turned by EXIF", "turned.jpg", encoded("JPEG", exif=exif), True)
    yield put("PNG of 1×65535", "thin.png", png_bomb(1, 65_535), True)
    yield put("PNG of 196 megapixels, 190 kB", "bomb.png", png_bomb(14_000, 14_000), False)
    yield put("TIFF of 900 megapixels, 50 kB", "bomb.tif", tiff_bomb(30_000, 30_000), False)
    yield put("BMP of 900 megapixels, 1 kB", "bomb.bmp", bmp_bomb(30_000, 30_000), False)
    yield put("GIF of 4,294 megapixels, 40 bytes", "bomb.gif", gif_bomb(65_535, 65_535), False)
    yield put("PPM of 900 megapixels, 80 bytes", "bomb.ppm", pnm_bomb(30_000, 30_000), False)
    yield put("HDR of 900 megapixels, 6 kB", "bomb.hdr", hdr_bomb(30_000, 30_000), False)
    yield put("name that is no UTF-8", os.fsdecode(b"caf\xe9.jpg"), whole, True)
    yield put("name with an escape sequence", "a\x1b]0;owned\x07\n.jpg", whole, True)
    yield put("name of 255 bytes", "n" * 251 + ".jpg", whole, True)
    (folder / "folder.jpg").mkdir()
    yield Case("folder called .jpg", folder / "folder.jpg", False)
    yield Case("file that is gone", folder / "gone.jpg", False)
    (folder / "circle.jpg").symlink_to("circle.jpg")
    yield Case("link to itself", folder / "circle.jpg", False)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        yield Case("pipe that nobody writes to", folder / "pipe.jpg", False)
        (folder / "zero.jpg").symlink_to("/dev/zero")
        yield Case("link to /dev/zero", folder / "zero.jpg", False)


def make_video(
    path: Path,
    frames: list[Image],
    times: list[Fraction] | None = None,
    *,
    codec: str = "libx264",
    form: str | None = None,
) -> bytes:
    """Write frames, a tenth of a second apart or at `times`; the bytes of the file."""
    unit = Fraction(1, 90_000)
    with av.open(str(path), "w", format=form) as out:
        stream: Any = out.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
        stream.codec_context.time_base = unit
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            time_s = Fraction(index, 10) if times is None else times[index]
            frame.pts, frame.time_base = round(time_s / unit), unit
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def videos(folder: Path) -> Iterator[Case]:
    """Bad and unusual videos, written below `folder`."""
    frames = [np.roll(portrait(), 4 * step, axis=1) for step in range(12)]
    whole = make_video(folder / "whole.mp4", frames)

    def put(name: str, file: str, content: bytes, frames: int = 0) -> Case:
        path = folder / file
        path.write_bytes(content)
        return Case(name, path, frames > 0, frames)

    yield Case("nothing wrong", folder / "whole.mp4", True, 12)
    yield put("MP4 cut off: its index is missing", "cut.mp4", whole[: len(whole) * 2 // 3])
    yield put("nothing in it", "empty.mp4", b"")
    yield put("text called .mp4", "text.mp4", b"this is no video\n" * 50)
    yield put("random bytes in the middle", "damaged.ts", _damaged(make_video(folder / "x.ts", frames)), 12)
    yield put(
        "playlist that names /etc/passwd", "list.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n"
    )
    yield put("list that names another file", "concat.mp4", b"ffconcat version 1.0\nfile whole.mp4\n")
    make_video(folder / "odd.mp4", [np.ascontiguousarray(frame[:239, :319]) for frame in frames])
    yield Case("odd width and height", folder / "odd.mp4", True, 12)
    wide = [np.ascontiguousarray(frame[:120]) for frame in frames]
    grown = make_video(folder / "a.ts", wide) + make_video(folder / "b.ts", frames)
    yield put("size changes in mid-stream", "grows.ts", grown, 24)
    half = [Fraction(step, 10) for step in range(6)]
    leap = [*half, *(Fraction(step, 10) + 40_000 for step in range(6))]
    make_video(folder / "leap.mkv", frames, leap)
    yield Case("clock leaps by 11 hours", folder / "leap.mkv", True, 12)
    both = make_video(folder / "c.ts", frames[:6], [t + 100 for t in half]) + make_video(
        folder / "d.ts", frames[6:], half
    )
    yield put("clock runs back by 100 s", "back.ts", both, 12)
    yield put("GIF of 4,294 megapixels", "bomb.gif", gif_bomb(65_535, 65_535))
    yield put("colon in the name", "cam:1.mp4", whole, 12)
    yield put("name that is no UTF-8", os.fsdecode(b"caf\xe9.mp4"), whole, 12)
    yield put("name with %03d", "%03d.mp4", whole, 12)
    yield Case("file that is gone", folder / "gone.mp4", False)
    (folder / "folder.mp4").mkdir()
    yield Case("folder called .mp4", folder / "folder.mp4", False)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.mp4")
        yield Case("pipe that nobody writes to", folder / "pipe.mp4", False)


def _damaged(content: bytes) -> bytes:
    """The same with 40 bytes in the middle replaced."""
    middle = len(content) // 2
    noise = np.random.default_rng(0).integers(0, 256, 40, dtype=np.uint8).tobytes()
    return content[:middle] + noise + content[middle + 40 :]

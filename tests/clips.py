"""Make short videos: numbered frames whose number can be read back from the picture, and a beep."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from maskwatch.frames import Image

BITS = 16
SOUND_RATE = 48_000


def numbered(number: int, width: int = 192, height: int = 108) -> Image:
    """A frame with `number` in its top rows, as black and white blocks that survive compression."""
    image = np.full((height, width, 3), 96, np.uint8)
    for bit in range(BITS):
        left = bit * width // BITS
        image[:16, left : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: Image) -> int:
    """The number that `numbered` drew."""
    width = image.shape[1]
    middles = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(image[6, middle].mean() > 128) << bit for bit, middle in enumerate(middles))


def make_clip(
    path: Path,
    frames: Sequence[Image],
    *,
    rate: Fraction = Fraction(30000, 1001),
    times: Sequence[Fraction] | None = None,
    sound: str | None = None,
    codec: str = "libx264",
) -> Path:
    """Write `frames` at a fixed rate, or at `times` in seconds; `sound` is an audio codec's name.

    The sound is silence with one loud second from 1 s on.
    """
    times = times or [index / rate for index in range(len(frames))]
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=rate)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p" if codec != "rawvideo" else "rgb24"
        unit = Fraction(1, 90_000) if codec == "libx264" else 1 / rate
        video.codec_context.time_base = unit
        audio = None
        if sound:
            audio = out.add_stream(sound, rate=SOUND_RATE)
            audio.layout = "mono"
        for image, time_s in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time_s / unit), unit
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            total = int(SOUND_RATE * float(times[-1] + 1 / rate))
            wave = np.sin(2 * np.pi * 1000 * np.arange(total) / SOUND_RATE) * 0.8
            wave[:SOUND_RATE] = 0
            wave[2 * SOUND_RATE :] = 0
            for start in range(0, total, 1024):
                chunk = wave[start : start + 1024]
                samples = (chunk * 32767).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                out.mux(audio.encode(piece))
            out.mux(audio.encode(None))
    return path


def loudness(path: Path, step_s: float = 0.05) -> dict[float, float]:
    """Root mean square of the sound in steps of `step_s`, by time."""
    with av.open(str(path)) as container:
        pieces, first = [], None
        for frame in container.decode(audio=0):
            first = frame.time if first is None else first
            data = frame.to_ndarray().astype(np.float64)
            data = data / (32768 if data.max(initial=0) > 2 else 1)
            pieces.append(data.mean(axis=0) if data.shape[0] <= 8 else data[0])
            rate = frame.sample_rate
    wave = np.concatenate(pieces)
    width = int(step_s * rate)
    rows = wave[: len(wave) // width * width].reshape(-1, width)
    return {
        round((first or 0.0) + index * step_s, 3): float(np.sqrt((row**2).mean()))
        for index, row in enumerate(rows)
    }


def turn(path: Path, degrees: int) -> None:
    """Write a rotation into an MP4's track header, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd")
    matrix_at = at + 4 + 4 + 36 if data[at + 4] == 0 else at + 4 + 4 + 48
    one, unit = 1 << 16, 1 << 30
    a, b, c, d = {
        0: (one, 0, 0, one),
        90: (0, one, -one, 0),
        180: (-one, 0, 0, -one),
        270: (0, -one, one, 0),
    }[degrees]
    values = [a, b, 0, c, d, 0, 0, 0, unit]
    data[matrix_at : matrix_at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(bytes(data))

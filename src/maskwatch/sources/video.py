"""`VideoFile`: the frames of a video or an animated GIF, upright, with their exact times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from maskwatch.errors import OptionError, SourceError
from maskwatch.frames import Frame, Image

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_DAMAGED_IN_A_ROW = 200


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself before it is decoded.

    Attributes:
        size_wh: upright width and height in px.
        rate: average frames a second.
        time_base: unit of the frames' times in seconds.
        duration_s: None where the file does not say.
        frames: number of frames to be expected, None where neither duration nor count is known.
        origin_s: time in the file at which `Frame.pts_s` is 0.
        rotation: degrees, counter-clockwise, by which stored frames are turned to stand upright.
        codec: name of the video codec.
    """

    size_wh: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    duration_s: float | None
    frames: int | None
    origin_s: float
    rotation: int
    codec: str


class VideoFile:
    """Frames of one file, from `start_s` to `end_s` (None: its ends); a context manager.

    `Frame.pts_s` counts from `start_s`, and is exact to the stream's time base. Rotation metadata is
    applied. Frames that cannot be decoded are left out and counted in `damaged`.

    Raises:
        SourceError: the file cannot be opened, or holds no video.
        OptionError: `start_s` and `end_s` leave nothing between them.
    """

    def __init__(self, path: Path, *, start_s: float | None = None, end_s: float | None = None) -> None:
        for name, value in (("start", start_s), ("end", end_s)):
            if value is not None and (not math.isfinite(value) or value < 0):
                raise OptionError(f"--{name} must be a time of at least 0 s, not {value}")
        if end_s is not None and end_s <= (start_s or 0.0):
            raise OptionError(f"--end ({end_s:g} s) must come after --start ({start_s or 0:g} s)")
        self.path = path
        self.damaged = 0
        self._start_s, self._end_s = start_s or 0.0, end_s
        try:
            self._container = av.open(str(path), metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{path}: cannot be opened as a video ({ffmpeg_reason(error)})") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{path}: holds no video stream; `maskwatch image` reads pictures")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.info = self._look_at_first_frame()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """All frames, in order of time; may be iterated once more after the end."""
        info = self.info
        start = info.origin_s
        self._seek(start)
        index, last_pts_s = 0, -math.inf
        step_s = float(1 / info.rate)
        for decoded in self._decoded():
            time_s: float | None = decoded.time  # None for streams without timestamps
            pts_s = last_pts_s + step_s if time_s is None else time_s - start
            if pts_s == -math.inf:
                pts_s = 0.0
            if pts_s < -float(info.time_base) / 2:
                continue  # before --start, from the key frame on
            if self._end_s is not None and pts_s >= self._end_s - self._start_s:
                break
            if pts_s <= last_pts_s:  # a clock that stands or jumps back must not reorder frames
                pts_s = last_pts_s + float(info.time_base)
            yield Frame(upright(decoded, info.rotation), index, max(pts_s, 0.0), str(self.path))
            index, last_pts_s = index + 1, pts_s

    def _look_at_first_frame(self) -> VideoInfo:
        """Decode one frame: only it tells rotation and size for sure."""
        first = next(iter(self._decoded()), None)
        if first is None:
            self.close()
            raise SourceError(f"{self.path}: no frame can be decoded; the file is damaged or empty")
        stream, container = self._stream, self._container
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        if not 0 < rate <= 1000:
            rate = Fraction(25)
        time_base = stream.time_base or Fraction(1, 1000)
        start_time: int | None = container.start_time
        begin_s = start_time / av.time_base if start_time is not None else 0.0
        duration_s = container.duration / av.time_base if container.duration else None
        if duration_s is not None:
            end_s = min(duration_s, self._end_s if self._end_s is not None else duration_s)
            duration_s = max(0.0, end_s - self._start_s)
        whole = self._start_s == 0 and self._end_s is None
        frames = stream.frames if whole and stream.frames else None
        if frames is None and duration_s is not None:
            frames = max(1, round(duration_s * rate))
        rotation = int(round(first.rotation / 90.0) * 90) % 360
        size = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
        return VideoInfo(
            size_wh=size,
            rate=rate,
            time_base=time_base,
            duration_s=duration_s,
            frames=frames,
            origin_s=begin_s + self._start_s,
            rotation=rotation,
            codec=stream.codec_context.name,
        )

    def _seek(self, time_s: float) -> None:
        """Go to the key frame at or before `time_s`; a stream that cannot is opened anew."""
        try:
            self._container.seek(int((time_s - 1e-3) * av.time_base), backward=True)
        except (av.error.FFmpegError, OSError):
            self._container.close()
            self._container = av.open(str(self.path), metadata_errors="replace")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Frames as FFmpeg gives them; damaged packets are counted and passed over."""
        in_a_row = 0
        while in_a_row < MOST_DAMAGED_IN_A_ROW:
            try:
                for packet in self._container.demux(self._stream):
                    for frame in packet.decode():
                        in_a_row = 0
                        if isinstance(frame, av.VideoFrame):
                            yield frame
                return
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if isinstance(error, av.error.EOFError):
                    return
                self.damaged += 1
                in_a_row += 1


def upright(frame: av.VideoFrame, rotation: int) -> Image:
    """RGB (h, w, 3) of a decoded frame, turned counter-clockwise by `rotation` degrees."""
    image: Image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def ffmpeg_reason(error: BaseException) -> str:
    """FFmpeg's words without its error number and path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.split(": '", maxsplit=1)[0]

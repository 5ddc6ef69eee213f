"""`VideoFile`: the frames of a video or an animated GIF, upright, with their exact times."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, get_args

import av
import av.error
import numpy as np

from maskwatch.addresses import printable
from maskwatch.errors import OptionError, SourceError
from maskwatch.frames import Frame, Image
from maskwatch.media import limit_decoder, open_media
from maskwatch.suggest import did_you_mean, neighbours

if TYPE_CHECKING:
    from typing_extensions import Self

RightAngle = Literal[0, 90, 180, 270]
"""Degrees by which pictures are turned without being drawn anew."""
MOST_DAMAGED_IN_A_ROW = 200
LONGEST_GAP_S = 3600.0
"""A longer way from frame to frame is a clock that was set, not a pause."""
LONGEST_STEP_BACK_S = 1.0
"""A step back by less is disorder among neighbours; by more, a clock that was set."""


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
    applied, then `rotate`: degrees clockwise, of a camera that hung on its side. Frames that cannot be
    decoded are left out and counted in `damaged`.

    Raises:
        SourceError: the file cannot be opened, or holds no video.
        OptionError: `start_s` and `end_s` leave nothing between them, or `rotate` is no right angle.
    """

    def __init__(
        self, path: Path, *, start_s: float | None = None, end_s: float | None = None, rotate: int = 0
    ) -> None:
        check_rotate(rotate)
        for name, value in (("start", start_s), ("end", end_s)):
            if value is not None and (not math.isfinite(value) or value < 0):
                raise OptionError(f"--{name} must be a time of at least 0 s, not {value}")
        if end_s is not None and end_s <= (start_s or 0.0):
            raise OptionError(f"--end ({end_s:g} s) must come after --start ({start_s or 0:g} s)")
        self.path = path
        self.damaged = 0
        self._start_s, self._end_s, self._rotate = start_s or 0.0, end_s, rotate
        try:
            self._container = open_media(path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # EINVAL is what FFmpeg calls a format outside its list
            foreign = getattr(error, "errno", None) == errno.EINVAL
            reason = "no video format that is read" if foreign else ffmpeg_reason(error)
            means = did_you_mean(path.name, neighbours(path)) if isinstance(error, FileNotFoundError) else ""
            raise SourceError(
                f"{path}: cannot be opened as a video ({reason}); check the file{means}"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{path}: holds no video stream; `maskwatch image` reads pictures")
        self._stream = self._container.streams.video[0]
        try:
            limit_decoder(self._stream)
        except ValueError as error:
            self._container.close()
            raise SourceError(f"{path}: cannot be decoded ({error}); convert it first") from error
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
        clock = _Clock(info, self._start_s)
        index, name, last_s = 0, printable(str(self.path)), -1.0
        for decoded in self._decoded_from_start():
            pts_s = clock.read(decoded.time)
            if pts_s < -float(info.time_base) / 2:
                continue  # before --start, from the key frame on
            if self._end_s is not None and pts_s >= self._end_s - self._start_s:
                break
            pts_s = max(pts_s, 0.0)
            if pts_s <= last_s:  # two frames within half a tick before the start
                pts_s = last_s + float(info.time_base)
            yield Frame(upright(decoded, info.rotation), index, pts_s, name)
            index, last_s = index + 1, pts_s

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
        rotation = rotation_of(first, self._rotate)
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

    def _decoded_from_start(self) -> Iterator[av.VideoFrame]:
        """Frames from `start_s`, or a little before, on.

        Some containers cannot seek, or land behind the place: then all is decoded from the beginning.
        """
        if self._start_s > 0:
            wanted_s = self.info.origin_s
            try:
                self._container.seek(int((wanted_s - 1e-3) * av.time_base), backward=True)
                frames = self._decoded()
                first = next(frames, None)
            except (av.error.FFmpegError, OSError):
                first = None
            time_s: float | None = None if first is None else first.time
            if first is not None and time_s is not None and time_s <= wanted_s:
                yield first
                yield from frames
                return
        self._container.close()
        self._container = open_media(self.path)
        self._stream = self._container.streams.video[0]
        limit_decoder(self._stream)
        yield from self._decoded()

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


class _Clock:
    """Times of frames that always go on, by steps that a recording can have.

    Streams without times get those of their rate. A clock that was set in the recording, forwards or
    backwards, goes on as if it had not been.
    """

    def __init__(self, info: VideoInfo, start_s: float) -> None:
        self._tick_s, self._step_s = float(info.time_base), float(1 / info.rate)
        self._origin_s, self._start_s = info.origin_s, start_s
        self._last_s: float | None = None

    def read(self, time_s: float | None) -> float:
        """Seconds since the start, for a frame at `time_s` in the file."""
        last_s = self._last_s
        if last_s is None:
            first_s = 0.0 if time_s is None else time_s - self._origin_s
            is_set = (
                not math.isfinite(first_s)
                or first_s > LONGEST_GAP_S
                or first_s < -self._start_s - LONGEST_GAP_S
            )
            self._last_s = -self._start_s if is_set else first_s
            if is_set and time_s is not None and math.isfinite(time_s):
                self._origin_s = time_s + self._start_s
            return self._last_s
        now_s = last_s + self._step_s if time_s is None else time_s - self._origin_s
        if not math.isfinite(now_s):
            now_s = last_s + self._step_s
        elif now_s - last_s > LONGEST_GAP_S or last_s - now_s > LONGEST_STEP_BACK_S:
            self._origin_s += now_s - last_s - self._step_s
            now_s = last_s + self._step_s
        self._last_s = now_s if now_s > last_s else last_s + self._tick_s
        return self._last_s


def check_rotate(degrees: int) -> None:
    """Raise `OptionError` unless `degrees` is a `RightAngle`."""
    if degrees not in get_args(RightAngle):
        raise OptionError(f"rotate must be 0, 90, 180 or 270 degrees (clockwise), not {degrees}")


def rotation_of(frame: av.VideoFrame, rotate: int = 0) -> int:
    """Degrees, 0 to 270, counter-clockwise, by which a frame is turned to stand upright.

    Its metadata say how, to the nearest right angle (what is no number there turns nothing), and `rotate`
    what they do not know, clockwise.
    """
    degrees = frame.rotation if math.isfinite(frame.rotation) else 0
    return (round(degrees / 90) * 90 - rotate) % 360


def upright(frame: av.VideoFrame, rotation: int) -> Image:
    """RGB (h, w, 3) of a decoded frame, turned counter-clockwise by `rotation` degrees."""
    image: Image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def ffmpeg_reason(error: BaseException) -> str:
    """FFmpeg's words without its error number and path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(str(text).split(": '", maxsplit=1)[0])

"""`Camera`: a webcam, a network stream, or a file played at its own pace, that comes back when lost.

Iterating a camera never ends by itself: it gives `Shot`s while pictures come and a `CameraState`
whenever that changes. A camera that is lost says so; it never passes for one that sees nobody.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import av.error

from maskwatch.addresses import printable, redact, scheme_of
from maskwatch.errors import OptionError
from maskwatch.frames import Frame
from maskwatch.media import LIMITS, REPLACING, limit_decoder, open_media
from maskwatch.sources.video import check_rotate, ffmpeg_reason, rotation_of, upright

if TYPE_CHECKING:
    from av.container import InputContainer

_LOOK_US = "500000"
"""How long FFmpeg listens before it believes what a stream is; its own 5 s only add to the start."""
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "srt")


@dataclass(frozen=True)
class CameraOptions:
    """How patient a camera is, and how it hangs.

    Attributes:
        open_timeout_s: how long connecting may take.
        read_timeout_s: how long pictures may stay away before the camera counts as lost.
        first_pause_s, longest_pause_s: pause before connecting again; it doubles from try to try.
        steady_s: after being live for so long, the pause starts from its first value again.
        most_fps: what comes faster for more than a second is thrown away before it is decoded, up to
            the next picture that can be decoded by itself, and counted in `Camera.discarded`.
        loop: start a file over at its end, as if it were a camera.
        rotate: degrees clockwise by which its pictures are turned to stand upright: 0, 90, 180 or 270.

    Raises:
        OptionError: a time or `most_fps` is not above 0, or `rotate` is no right angle.
    """

    open_timeout_s: float = 4.0
    read_timeout_s: float = 3.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    steady_s: float = 10.0
    most_fps: float = 120.0
    loop: bool = False
    rotate: int = 0

    def __post_init__(self) -> None:
        check_rotate(self.rotate)
        times = (self.open_timeout_s, self.read_timeout_s, self.first_pause_s, self.longest_pause_s)
        if min(times) <= 0 or self.most_fps <= 0:
            raise OptionError("a camera's time-outs, pauses and most_fps must be above 0")


@dataclass(frozen=True)
class CameraState:
    """What a camera is doing since `at_s` (seconds since it was started).

    Attributes:
        state: connecting for the first time, live, lost, or ended (a file at its end).
        reason: why it is lost, in words without secrets.
        attempt: number of the next try to connect.
        gap_s: how long it was away, when it comes back.
    """

    state: Literal["connecting", "live", "lost", "ended"]
    at_s: float
    reason: str = ""
    attempt: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture as the decoder left it; it becomes RGB, and is turned by `rotate`, when someone wants it."""

    decoded: av.VideoFrame
    index: int
    captured_s: float
    source_id: str
    rotate: int = 0

    def to_frame(self) -> Frame:
        """The upright RGB picture, at the time it arrived (s since the camera's start)."""
        rotation = rotation_of(self.decoded, self.rotate)
        return Frame(upright(self.decoded, rotation), self.index, self.captured_s, self.source_id)


class Camera:
    """One live source; iterate it in a thread of its own, and `stop` it from anywhere.

    Raises:
        OptionError: `uri` is no camera number, device, URL of a known scheme, or file.
    """

    def __init__(self, uri: str, options: CameraOptions | None = None, *, name: str | None = None) -> None:
        """`uri`: 0, /dev/video0, rtsp://…, rtmp://…, http://… (MJPEG), or a video file."""
        self.options = options or CameraOptions()
        self._uri = uri
        self._address, self._format, self._is_file = _address_of(uri)
        self.name = printable(name) if name else redact(uri)
        self.started_wall = time.time()
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self.discarded = 0
        self._index = 0
        self._last_s: float | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the camera was started, on a clock that never jumps."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """End the iteration at the next picture or time-out."""
        self._stopped.set()

    def __iter__(self) -> Iterator[Shot | CameraState]:
        """Shots and changes of state, until stopped or, for a file that does not loop, its end."""
        options = self.options
        yield CameraState("connecting", self.now_s)
        attempt = 0
        while not self._stopped.is_set():
            live_s, ended = None, False
            try:
                for shot in self._shots():
                    if live_s is None:
                        live_s = shot.captured_s
                        gap_s = 0.0 if self._last_s is None else live_s - self._last_s
                        yield CameraState("live", live_s, gap_s=gap_s)
                    self._last_s = shot.captured_s
                    yield shot
                reason, ended = "the stream ended", True
            except (av.error.FFmpegError, OSError, ValueError) as error:
                reason = self._reason(error)
            if self._stopped.is_set():
                return
            if self._is_file and ended and live_s is not None:
                if options.loop:
                    continue
                yield CameraState("ended", self.now_s)
                return
            if live_s is not None and self.now_s - live_s >= options.steady_s:
                attempt = 0
            attempt += 1
            yield CameraState("lost", self.now_s, reason=reason, attempt=attempt)
            self._stopped.wait(min(options.first_pause_s * 2 ** (attempt - 1), options.longest_pause_s))

    def _shots(self) -> Iterator[Shot]:
        """The pictures of one connection, until it ends or `stop` is called."""
        for decoded in self._play():
            if self._stopped.is_set():
                return
            yield Shot(decoded, self._index, self.now_s, self.name, self.options.rotate)
            self._index += 1

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, av.error.ExitError):  # FFmpeg was interrupted by our time-out
            return f"no picture for {self.options.read_timeout_s:g} s"
        return ffmpeg_reason(error)

    def _play(self) -> Iterator[av.VideoFrame]:
        """Frames of one connection; a file's come at their own times."""
        with self._open() as container:
            if not container.streams.video:
                raise ValueError("it sends no video")
            stream = container.streams.video[0]
            limit_decoder(stream, threads="AUTO" if self._is_file else "SLICE")  # frame threads add delay
            began: float | None = None
            for frame in self._decoded(container, stream):
                if self._is_file and frame.time is not None:
                    began = time.monotonic() - frame.time if began is None else began
                    self._stopped.wait(max(0.0, began + frame.time - time.monotonic()))
                yield frame

    def _decoded(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Frames of a stream, without those of a flood."""
        budget = _Budget(self.options.most_fps)
        waits_for_key = False
        for packet in container.demux(stream):
            if packet.size and (waits_for_key or not budget.take()):
                waits_for_key = not (packet.is_keyframe and budget.take())
                if waits_for_key:
                    self.discarded += 1
                    continue
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    yield frame

    def _open(self) -> InputContainer:
        if self._is_file:
            return open_media(Path(self._address))
        options = {"fflags": "nobuffer", "flags": "low_delay", "analyzeduration": _LOOK_US, **LIMITS}
        if self._address.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        return av.open(
            self._address,
            format=self._format,
            options=options,
            timeout=(self.options.open_timeout_s, self.options.read_timeout_s),
            **REPLACING,
        )


class _Budget:
    """Grants `rate` pieces a second on the average, and a second's worth at once (token bucket)."""

    def __init__(self, rate: float) -> None:
        self._rate = self._left = rate
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether one more is granted."""
        now = time.monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _address_of(uri: str) -> tuple[str, str | None, bool]:
    """FFmpeg's address and format for a source, and whether it is a file."""
    if uri.isdigit() and sys.platform == "darwin":
        return uri, "avfoundation", False
    if uri.isdigit() and sys.platform != "win32":
        return f"/dev/video{uri}", "video4linux2", False
    if uri.startswith("/dev/"):
        return uri, "video4linux2", False
    if uri.startswith("video="):
        return uri, "dshow", False
    if scheme_of(uri) in SCHEMES:
        return uri, None, False
    if os.path.isfile(uri):  # noqa: PTH113 — pathlib raises for names that no file can have
        return uri, None, True
    raise OptionError(
        f"{redact(uri)}: no camera number, /dev/video device, existing file or URL "
        f"({', '.join(SCHEMES[:5])} …; on Windows video=NAME); check the spelling"
    )

"""`VideoWriter`: frames to an H.264 file that browsers play, or to a GIF.

While it runs, the file grows as fragments under `NAME.part.mp4`, which plays at any moment: a
process killed outright leaves all but the last seconds. On close the fragments are copied, with the
sound of the original, into the final file with its index in front (fast start).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import av
import av.error
import av.filter
import numpy as np

from maskwatch.errors import OptionError, SourceError
from maskwatch.files import replacing
from maskwatch.frames import Image
from maskwatch.media import open_media, open_output

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from typing_extensions import Self

VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".mkv")
_MP4_AUDIO: Final = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}
_FRAGMENT_S: Final = 2
"""A key frame, and so a fragment, at least this often: what a kill can cost."""


class VideoWriter:
    """Writes frames with their own times; a context manager.

    Closing it finishes the file also after an error, with what was written so far. Frames of an odd
    width or height are padded by one row or column, as H.264's colour format asks for even sides.

    Raises:
        OptionError: the suffix is none of .mp4, .m4v, .mov, .mkv, .gif.
        SourceError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction,
        time_base: Fraction,
        sound_from: Path | None = None,
        origin_s: float = 0.0,
    ) -> None:
        """`origin_s` is the time in the file `sound_from` at which our time is 0."""
        suffix = path.suffix.lower()
        if suffix not in (*VIDEO_SUFFIXES, ".gif"):
            raise OptionError(f"{path}: choose one of {', '.join(VIDEO_SUFFIXES)} or .gif for a video")
        self.path = path
        self.frames = 0
        self._sound_from, self._origin_s = sound_from, origin_s
        self._rate = rate
        self._is_gif = suffix == ".gif"
        # H.264 wants a unit that its own clock can count; a finer one than 1/90000 s has no use.
        self._time_base = Fraction(1, 100) if self._is_gif else max(time_base, Fraction(1, 90_000))
        self._part = path.with_name(f"{path.stem}.part{'.gif' if self._is_gif else '.mp4'}")
        self._last_pts = -1
        self._container: OutputContainer | None = None
        self._stream: Any = None
        self._palette: Callable[[av.VideoFrame], Iterator[av.VideoFrame]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, image: Image, pts_s: float) -> None:
        """Append one RGB frame (h, w, 3) shown at `pts_s` seconds.

        Raises:
            SourceError: the disk is full or the file cannot be written.
        """
        try:
            if self._container is None:
                self._open(image.shape[1], image.shape[0])
            pts = max(round(pts_s / self._time_base), self._last_pts + 1)
            frame = av.VideoFrame.from_ndarray(_even(image) if not self._is_gif else image, format="rgb24")
            frame.pts, frame.time_base = pts, self._time_base
            assert self._container is not None
            for ready in self._palette(frame) if self._palette else [frame]:
                self._container.mux(self._stream.encode(ready))
            self._last_pts = pts
            self.frames += 1
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Finish the file; without a single frame none is left behind.

        Raises:
            SourceError: the file cannot be written.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            try:
                container.mux(self._stream.encode(None))
            finally:
                container.close()
            if self._is_gif:
                self._part.replace(self.path)
                return
            _check_room_for(self._part)
            with replacing(self.path, ending=f".partial{self.path.suffix}") as finished:
                self._finish(finished)
            self._part.unlink()
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> SourceError:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return SourceError(
            f"{self.path}: cannot be written ({reason}); what was done so far is in {self._part}"
        )

    @property
    def part(self) -> Path:
        """The growing file, which stays where the final one could not be made."""
        return self._part

    def _open(self, width: int, height: int) -> None:
        """Open the growing file once the first frame tells the size."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._is_gif:
            self._container = open_output(self._part, format="gif")
            self._stream = self._container.add_stream("gif", rate=min(self._rate, Fraction(50)))
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "pal8"
            self._stream.time_base = self._stream.codec_context.time_base = self._time_base
            self._palette = _palette_filter(width, height, self._time_base)
            return
        flags = "frag_keyframe+empty_moov+default_base_moof+delay_moov"
        self._container = open_output(self._part, format="mp4", movflags=flags, flush_packets="1")
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = self._time_base
        context.gop_size = max(1, round(self._rate * _FRAGMENT_S))
        context.options = {"preset": "veryfast", "crf": "21"}

    def _finish(self, target: Path) -> None:
        """Copy the pictures and the sound into the final file, packet by packet."""
        kind = "matroska" if target.suffix.lower() == ".mkv" else "mp4"
        front = {} if kind == "matroska" else {"movflags": "faststart"}
        with (
            open_media(self._part) as pictures,
            open_output(target, format=kind, **front) as out,
        ):
            source = pictures.streams.video[0]
            stream = out.add_stream_from_template(source)
            last_s = float(self._last_pts * self._time_base + 1 / self._rate)
            sound = _Sound.open(self._sound_from, out, self._origin_s, last_s)
            try:
                for packet in pictures.demux(source):
                    if packet.dts is None:
                        continue
                    if sound is not None:
                        sound.copy_until(float(packet.dts * packet.time_base))
                    packet.stream = stream
                    out.mux(packet)
                if sound is not None:
                    sound.copy_until(last_s)
            finally:
                if sound is not None:
                    sound.close()


class _Sound:
    """The original's sound, copied as it is where MP4 can hold it, as AAC else."""

    def __init__(
        self, container: InputContainer, out: OutputContainer, origin_s: float, last_s: float
    ) -> None:
        self._container, self._out = container, out
        self._origin_s, self._last_s = origin_s, last_s
        source = container.streams.audio[0]
        context = source.codec_context
        self._copied = context.name in _MP4_AUDIO
        if self._copied:
            self._stream: Any = out.add_stream_from_template(source)
        else:
            self._stream = out.add_stream("aac", rate=context.sample_rate)
            layout = "mono" if context.channels == 1 else "stereo"
            self._stream.layout = layout
            self._fit = av.AudioResampler("fltp", layout, context.sample_rate, frame_size=1024)
        container.seek(int(max(origin_s - 1.0, 0.0) * av.time_base), backward=True)
        self._packets = container.demux(source)
        self._next: av.Packet[Any] | None = None

    @classmethod
    def open(cls, path: Path | None, out: OutputContainer, origin_s: float, last_s: float) -> _Sound | None:
        """The sound of `path`; None where there is none that can be read."""
        if path is None:
            return None
        try:
            container = open_media(path)
        except (av.error.FFmpegError, OSError, ValueError):
            return None
        if not container.streams.audio:
            container.close()
            return None
        return cls(container, out, origin_s, last_s)

    def copy_until(self, time_s: float) -> None:
        """Write all packets that begin before `time_s` of our time, and before the pictures end."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            packet = self._next
            if packet is None:
                return
            if packet.pts is None:
                self._next = None
                continue
            begins_s = float(packet.pts * packet.time_base) - self._origin_s
            if begins_s >= min(time_s, self._last_s):
                return
            self._next = None
            if begins_s >= -0.03:  # a packet is about 0.02 s long; sound before --start is left out
                self._write(packet)

    def _write(self, packet: av.Packet[Any]) -> None:
        shift = round(self._origin_s / packet.time_base)
        if not self._copied:
            for frame in packet.decode():
                if isinstance(frame, av.AudioFrame):
                    self._encode(frame)
            return
        assert packet.pts is not None
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        packet.stream = self._stream
        self._out.mux(packet)

    def _encode(self, frame: av.AudioFrame | None) -> None:
        if frame is not None and frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(self._origin_s / frame.time_base)
        for ready in self._fit.resample(frame):
            self._out.mux(self._stream.encode(ready))

    def close(self) -> None:
        """Flush what an encoder still holds, and release the original."""
        if not self._copied:
            self._encode(None)
            self._out.mux(self._stream.encode(None))
        self._container.close()


def _check_room_for(part: Path) -> None:
    """Finishing copies the file: where there is no room for two, one that plays is left as it is."""
    if shutil.disk_usage(part.parent).free < part.stat().st_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _even(image: Image) -> Image:
    """The frame with its last row and column doubled where their number is odd."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return image


def _palette_filter(
    width: int, height: int, time_base: Fraction
) -> Callable[[av.VideoFrame], Iterator[av.VideoFrame]]:
    """A filter that gives each frame the 256 colours that fit it best."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24", width, height), time_base=time_base
    )
    split, generate = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, end = graph.add("paletteuse", "new=1:dither=bayer"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(end)
    graph.configure()

    def convert(frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        graph.push(frame)
        while True:
            try:
                ready = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(ready, av.VideoFrame)
            yield ready

    return convert

"""Open video files so that they can do nothing but be decoded.

FFmpeg would otherwise follow a playlist to other files and to the network, read a name such as `data:` or
`%03d.png` as an instruction, wait on a pipe for ever, and decode pictures of any size.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av

from maskwatch.files import check_ordinary

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

LARGEST_FRAME_PIXELS: Final = 2**26
"""Twice the pixels of 8K video."""
LARGE_FRAME_PIXELS: Final = 2**24
"""From this size on a frame is decoded by several threads, not several frames at a time."""
_CONTAINERS: Final = (
    "apng,asf,avi,dhav,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,"
    "yuv4mpegpipe,aac,flac,mp3,wav"  # sound alone, to be able to say so
)
"""FFmpeg's names of formats that hold their pictures themselves: no playlists, no lists of files."""
REPLACING: Final[dict[str, Any]] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)
"""Arguments of `av.open` for words in a file that are no UTF-8; PyAV never fails of them since 19."""
LIMITS: Final = {"max_pixels": str(LARGEST_FRAME_PIXELS)}
"""Options for every decoder, of files and cameras."""


def open_media(path: Path) -> InputContainer:
    """Open an ordinary file for reading.

    Raises:
        av.error.FFmpegError, OSError, ValueError: it cannot be opened, or is of no format that is read.
    """
    check_ordinary(path)
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS, **LIMITS}
    return av.open(_address(path), options=options, **REPLACING)


def limit_decoder(stream: VideoStream, *, threads: str = "AUTO") -> None:
    """Bound the frames that `stream` may decode to, also where they grow in mid-stream.

    Raises:
        ValueError: nothing here decodes it.
    """
    context: VideoCodecContext | None = stream.codec_context
    if context is None:
        raise ValueError("a video codec that is not known")
    context.options = {**LIMITS}
    large = context.width * context.height > LARGE_FRAME_PIXELS
    stream.thread_type = "SLICE" if large else threads


def open_output(path: Path, *, format: str, **options: str) -> OutputContainer:  # noqa: A002 — FFmpeg's word
    """Open a file for writing.

    Raises:
        av.error.FFmpegError, OSError: it cannot be made.
    """
    return av.open(_address(path), "w", format=format, container_options=options)


def _address(path: Path) -> str:
    """A path that FFmpeg takes for nothing else, whatever colons it holds."""
    return f"file:{os.fspath(path)}"

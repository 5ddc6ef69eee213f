"""`Limits`: how much one caller, and all callers together, may ask of the server."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from maskwatch.errors import OptionError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Beyond each of these a request is refused with a reason, before it costs memory.

    Attributes:
        picture_bytes: one encoded picture.
        pixels: of one picture, as its header says.
        pictures: in one request.
        body_bytes: one request of pictures.
        waiting: requests of pictures taken in and not answered yet.
        waiting_bytes: what those hold together.
        timeout_s: from the first byte of such a request to its answer.
        together: most pictures that run through the network at once.
        together_px: most pixels of such a run, unless it is of one picture.
        workers: threads that decode and detect; 0: one a core.
        max_side: largest side a caller may ask pictures to be looked at, in px.
        video_bytes: one video.
        videos: videos kept, waiting ones and finished ones together.
        video_s: longest time that may be spent on one video.
        keep_s: a finished video is deleted after so long.

    Raises:
        OptionError: a value is not above 0.
    """

    picture_bytes: int = 20 * MIB
    pixels: int = 50_000_000
    pictures: int = 16
    body_bytes: int = 64 * MIB
    waiting: int = 64
    waiting_bytes: int = 256 * MIB
    timeout_s: float = 30.0
    together: int = 8
    together_px: int = 4 * 320 * 240
    workers: int = 0
    max_side: int = 2048
    video_bytes: int = 512 * MIB
    videos: int = 8
    video_s: float = 3600.0
    keep_s: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0 and not (field.name == "workers" and value == 0):
                raise OptionError(f"{field.name} must be above 0, not {value}")

    @property
    def worker_count(self) -> int:
        """Threads that decode and detect."""
        return self.workers or os.cpu_count() or 1

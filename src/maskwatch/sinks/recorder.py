"""`Recorder`: a recording that a full disk interrupts and does not end."""

from __future__ import annotations

import contextlib
import shutil
import time
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from maskwatch.errors import SourceError
from maskwatch.frames import Image
from maskwatch.sinks.video_file import VideoWriter

if TYPE_CHECKING:
    from typing_extensions import Self

LEAST_FREE_BYTES: Final = 64 * 2**20
"""Recording stops while the disk has less than this, so that events and the system still have room."""
TRY_AGAIN_S: Final = 5.0
_LOOK_EVERY_S: Final = 1.0
_UNIT, _RATE = Fraction(1, 1000), Fraction(15)


class Recorder:
    """Writes one camera's pictures to video files; a context manager that no disk brings down.

    A recording that is there already is never overwritten: the next one gets a number. While the disk
    takes nothing, pictures are counted in `missed` and `trouble` says why; when it takes some again, the
    recording goes on in a new file.

    Raises:
        OptionError: the suffix is no video's.
        SourceError: the first file cannot be made.
    """

    def __init__(self, path: Path, *, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self.path = path
        self.files: list[Path] = []
        self.missed = 0
        self.trouble = ""
        self._least_free_bytes = least_free_bytes
        self._writer: VideoWriter | None = self._next_writer()
        self._began_s: float | None = None
        self._look_at = self._try_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def write(self, image: Image, pts_s: float) -> None:
        """Append one RGB frame (h, w, 3) seen at `pts_s`; never raises for a disk's sake."""
        try:
            writer = self._ready_writer()
            if writer is None:
                self.missed += 1
                return
            self._began_s = pts_s if self._began_s is None else self._began_s
            writer.write(image, pts_s - self._began_s)
            self.trouble = ""
        except (SourceError, OSError) as error:
            self.missed += 1
            self._interrupt(str(error))

    def _ready_writer(self) -> VideoWriter | None:
        """The writer, a new one after an interruption, or None while there is no room."""
        now = time.monotonic()
        if self._writer is None and now < self._try_at:
            return None
        if now >= self._look_at or self._writer is None:
            self._look_at = now + _LOOK_EVERY_S
            self.path.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path.parent).free
            if free < self._least_free_bytes:
                self._interrupt(f"{self.path}: recording stops; only {free:,} bytes are free on its disk")
                return None
        if self._writer is None:
            self._writer, self._began_s = self._next_writer(), None
        return self._writer

    def _interrupt(self, words: str) -> None:
        self.trouble = ""
        self._try_at = time.monotonic() + TRY_AGAIN_S
        self._finish()
        self.trouble = f"{words}; {self.trouble}" if self.trouble else words

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except SourceError as error:
            self.trouble = str(error)
        made = next((path for path in (writer.path, writer.part) if path.exists()), None)
        if writer.frames and made is not None:
            self.files.append(made)

    def _next_writer(self) -> VideoWriter:
        """A writer to the first name that no recording has, finished or not."""
        number = 1
        while True:
            name = self.path.name if number == 1 else f"{self.path.stem}-{number}{self.path.suffix}"
            writer = VideoWriter(self.path.with_name(name), rate=_RATE, time_base=_UNIT)
            taken = False
            with contextlib.suppress(OSError):
                taken = writer.path.exists() or writer.part.exists()
            if not taken:
                return writer
            number += 1

"""Results that grow line by line: JSON Lines of frames, tracks and events, and events as CSV."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from maskwatch.detections import Detections
from maskwatch.errors import SourceError
from maskwatch.events import Event, Happening
from maskwatch.frames import Frame
from maskwatch.labels import VERDICTS

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from typing_extensions import Self

_SUMS: Final = ("people", "most", *(f"{name}_s" for name in VERDICTS), "compliance")
EVENT_COLUMNS: Final = (*(field.name for field in fields(Event)), *_SUMS, "event_id")
"""Columns of the CSV file: an event's values, then an aggregate's; each row fills its own."""
_TAIL_BYTES = 2**20
"""How far back an appended file is read: more than the largest batch that can have been cut off."""


class _Lines(ABC):
    """A text file that holds whole lines only: a write that fails, or was killed, leaves nothing of it.

    Several processes may append to one file; each waits while another writes, where files can be locked
    (not on Windows).
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._path, self._appends = path, append
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode: Literal["a+b", "wb"] = "a+b" if append else "wb"
            self._file = path.open(mode, buffering=0)
            with self._alone():
                self._end = self._mended_end() if append else 0
                self._begin()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, event: Happening) -> None:
        """Add one event."""
        self.write_values([event.to_dict()])

    def write_values(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add events that are dicts already: all of them, or none.

        Raises:
            SourceError: the file cannot be written.
        """
        self._write("".join(map(self._line, rows)))

    @abstractmethod
    def _line(self, values: dict[str, Any]) -> str:
        """One event as one line."""

    def stored_ids(self) -> set[str]:
        """The `event_id`s of the last lines, by which a batch that was stored before is known again."""
        try:
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, end - _TAIL_BYTES))
            tail = self._file.read(_TAIL_BYTES)
        except OSError as error:
            raise self._failure(error) from error
        return set(self._ids(tail.decode("utf-8", "replace")))

    @abstractmethod
    def _ids(self, tail: str) -> Iterable[str]:
        """The ids in the last part of the file, which may begin within a line."""

    @property
    def is_current(self) -> bool:
        """Whether the path still leads to the file that is written, and not to one that replaced it."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno != errno.EINVAL:  # a pipe or a terminal has no disk
                raise self._failure(error) from error

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _begin(self) -> None:
        """What stands before the first line."""
        return

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Other processes that write to the file wait meanwhile."""
        if not self._appends or fcntl is None:
            yield
            return
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed, and so unlocked
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, text: str) -> None:
        with self._alone():
            self._put(text)

    def _put(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        try:
            if self._appends:
                self._end = self._file.seek(0, os.SEEK_END)  # others may have written
            done = 0
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError as error:
            self._cut(self._end)
            raise self._failure(error) from error
        self._end += len(data)

    def _mended_end(self) -> int:
        """Where the last whole line ends; what a kill left behind it is cut off."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        self._file.seek(start)
        cut = self._file.read(size - start).rfind(b"\n") + 1
        end = start + cut if cut or not start else size
        if end < size:
            self._cut(end)
        self._file.seek(end)
        return end

    def _cut(self, size: int) -> None:
        try:
            self._file.truncate(size)
            self._file.seek(size)
        except OSError:
            return  # a pipe, or a disk that is gone: there is nothing to take back

    def _failure(self, error: OSError) -> SourceError:
        reason = error.strerror or type(error).__name__
        return SourceError(f"{self._path}: cannot be written ({reason}); free space or choose another file")


class JsonLines(_Lines):
    """One JSON object a line; `type` says which kind it is: "frame", "track" or "event".

    Raises:
        SourceError: the file cannot be written.
    """

    def write_frame(self, frame: Frame, detections: Detections, *, looked: bool = True) -> None:
        """One frame and its faces; where nobody `looked`, they were followed from frames before."""
        values = {
            "source_id": frame.source_id,
            "index": frame.index,
            "pts_s": round(frame.pts_s, 6),
            "looked": looked,
            "faces": detections.to_dicts(),
        }
        self._write(_json_line("frame", values))

    def write_track(self, event: Event) -> None:
        """One person's visit, from its `end` event."""
        content = event.to_dict()
        for name in ("kind", "rule", "message"):
            del content[name]
        content["end_s"] = content.pop("at_s")
        self._write(_json_line("track", content))

    def _line(self, values: dict[str, Any]) -> str:
        return _json_line("event", values)

    def _ids(self, tail: str) -> Iterable[str]:
        for line in tail.splitlines():
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict) and isinstance(found.get("event_id"), str):
                yield found["event_id"]


class CsvEvents(_Lines):
    """Events as CSV; see `EVENT_COLUMNS`.

    Raises:
        SourceError: the file cannot be written, or has other columns.
    """

    def _begin(self) -> None:
        header = ",".join(EVENT_COLUMNS) + "\n"
        if not self._end:
            self._put(header)
            return
        self._file.seek(0)
        if self._file.read(len(header)) != header.encode():
            self.close()
            raise SourceError(f"{self._path}: its columns are those of another table; name another file")

    def _line(self, values: dict[str, Any]) -> str:
        line = io.StringIO(newline="")
        csv.DictWriter(line, EVENT_COLUMNS, restval="", lineterminator="\n").writerow(values)
        return line.getvalue()

    def _ids(self, tail: str) -> Iterable[str]:
        return (line.rpartition(",")[2] for line in tail.splitlines())


def _json_line(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({"type": kind, **content}, ensure_ascii=False) + "\n"


def open_events(path: Path, *, append: bool = False) -> JsonLines | CsvEvents:
    """The sink for events that the suffix asks for: .csv, or JSON Lines for anything else."""
    if path.suffix.lower() == ".csv":
        return CsvEvents(path, append=append)
    return JsonLines(path, append=append)

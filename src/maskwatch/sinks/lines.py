"""Results that grow line by line: JSON Lines of frames, tracks and events, and events as CSV."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final

from maskwatch.detections import Detections
from maskwatch.errors import SourceError
from maskwatch.events import Event, Happening
from maskwatch.labels import VERDICTS

if TYPE_CHECKING:
    from typing_extensions import Self

_SUMS: Final = ("people", "most", *(f"{name}_s" for name in VERDICTS), "compliance")
EVENT_COLUMNS: Final = (*(field.name for field in fields(Event)), *_SUMS)
"""Columns of the CSV file: an event's values, then an aggregate's; each row fills its own."""


class _Lines(ABC):
    """A text file that is opened on entry and flushed line by line: what was written is there."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = "a" if append else "w"
            self._file: IO[str] = path.open(mode, encoding="utf-8", newline="", buffering=1)
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
        self.write_values(event.to_dict())

    @abstractmethod
    def write_values(self, values: dict[str, Any]) -> None:
        """Add one event that is a dict already."""

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SourceError:
        reason = error.strerror or type(error).__name__
        return SourceError(f"{self._path}: cannot be written ({reason}); choose another file")


class JsonLines(_Lines):
    """One JSON object a line; `type` says which kind it is: "frame", "track" or "event".

    Raises:
        SourceError: the file cannot be written.
    """

    def write_frame(self, source_id: str, index: int, pts_s: float, detections: Detections) -> None:
        """One frame and its faces."""
        faces = detections.to_dicts()
        self._dump(
            "frame", {"source_id": source_id, "index": index, "pts_s": round(pts_s, 6), "faces": faces}
        )

    def write_track(self, event: Event) -> None:
        """One person's visit, from its `end` event."""
        content = event.to_dict()
        for name in ("kind", "rule", "message"):
            del content[name]
        content["end_s"] = content.pop("at_s")
        self._dump("track", content)

    def write_values(self, values: dict[str, Any]) -> None:
        """One event, of type "event"."""
        self._dump("event", values)

    def _dump(self, kind: str, content: dict[str, Any]) -> None:
        self._write(json.dumps({"type": kind, **content}, ensure_ascii=False) + "\n")


class CsvEvents(_Lines):
    """Events as CSV; see `EVENT_COLUMNS`.

    Raises:
        SourceError: the file cannot be written.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """Write to `path`; `append` goes on with a file that has rows already."""
        fresh = not (append and path.is_file() and path.stat().st_size)
        super().__init__(path, append=append)
        self._rows = csv.DictWriter(self._file, EVENT_COLUMNS, restval="", lineterminator="\n")
        if fresh:
            self._rows.writeheader()

    def write_values(self, values: dict[str, Any]) -> None:
        """One event as one row."""
        try:
            self._rows.writerow(values)
        except OSError as error:
            raise self._failure(error) from error


def open_events(path: Path, *, append: bool = False) -> JsonLines | CsvEvents:
    """The sink for events that the suffix asks for: .csv, or JSON Lines for anything else."""
    if path.suffix.lower() == ".csv":
        return CsvEvents(path, append=append)
    return JsonLines(path, append=append)

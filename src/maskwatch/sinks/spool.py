"""`Spool`: events waiting for their receiver, on disk, so that neither a crash nor an outage loses them."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwatch.errors import SourceError

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SpooledEvent:
    """One event in the queue: its place, an id that stays the same when it is sent twice, its values."""

    place: int
    event_id: str
    values: dict[str, Any]


class Spool:
    """A queue of events in one SQLite file (write-ahead log); safe to use from two threads.

    Holds at most `most_events`; beyond that the oldest are dropped, and counted in `dropped`.

    Raises:
        SourceError: the file cannot be opened as a spool.
    """

    def __init__(self, path: Path, *, most_events: int = 100_000) -> None:
        self.path = path
        self.dropped = 0
        self._most = most_events
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise SourceError(f"{path}: a spool of another maskwatch version ({version}); move it away")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS waiting "
                "(place INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, body TEXT NOT NULL)"
            )
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            self._count = int(self._db.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            raise SourceError(f"{path}: cannot be used as a spool ({error}); check the folder") from error

    def __len__(self) -> int:
        return self._count

    def add(self, values: dict[str, Any]) -> None:
        """Append one event's values; on a full disk it is dropped and counted."""
        body = json.dumps(values, ensure_ascii=False)
        with self._lock:
            try:
                self._db.execute(
                    "INSERT INTO waiting (event_id, body) VALUES (?, ?)", (uuid.uuid4().hex, body)
                )
                self._count += 1
                if self._count > self._most:
                    extra = self._count - self._most
                    self._db.execute(
                        "DELETE FROM waiting WHERE place IN "
                        "(SELECT place FROM waiting ORDER BY place LIMIT ?)",
                        (extra,),
                    )
                    self._count -= extra
                    self.dropped += extra
            except sqlite3.Error:
                self.dropped += 1

    def oldest(self, most: int) -> list[SpooledEvent]:
        """Up to `most` events, in the order they came; they stay until `remove`d."""
        with self._lock:
            try:
                rows = self._db.execute(
                    "SELECT place, event_id, body FROM waiting ORDER BY place LIMIT ?", (most,)
                ).fetchall()
            except sqlite3.Error:
                return []
        return [SpooledEvent(place, event_id, json.loads(body)) for place, event_id, body in rows]

    def remove(self, events: Sequence[SpooledEvent]) -> None:
        """Forget events that arrived."""
        with self._lock:
            try:
                self._db.executemany("DELETE FROM waiting WHERE place = ?", [(one.place,) for one in events])
                self._count = int(self._db.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])
            except sqlite3.Error:
                return  # they will be sent again; receivers know their ids

    def close(self) -> None:
        """Release the file; what waits is sent after the next start."""
        with self._lock:
            self._db.close()

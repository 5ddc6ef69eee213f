"""`Spool`: events waiting for their receiver, on disk, so that neither a crash nor an outage loses them."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwatch.errors import SourceError

_SCHEMA_VERSION = 1
TABLE = (
    "CREATE TABLE waiting "
    "(place INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, body TEXT NOT NULL)"
)
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its own words hold bytes of a damaged file."""
MOST_IN_MEMORY = 10_000
"""Events kept while the disk takes none."""
TRY_AGAIN_S = 1.0
"""A disk that took nothing is not asked more often than this."""


@dataclass(frozen=True)
class SpooledEvent:
    """One event in the queue: its place, an id that stays the same when it is sent twice, its values."""

    place: int
    event_id: str
    values: dict[str, Any]


class SpoolInUseError(SourceError):
    """Another process, that runs now, uses the spool."""


class Spool:
    """A queue of events in one SQLite file (write-ahead log); safe to use from two threads.

    Holds at most `most_events`; beyond that the oldest are dropped, and counted in `dropped`. A disk that
    is full, or fails, stops nobody: events are kept in memory, up to `MOST_IN_MEMORY`, and go to the disk
    when it takes them again. A file that is damaged is set aside. `trouble` says so, "" while all is well.

    Raises:
        SpoolInUseError: another process has it open.
        SourceError: the file cannot be opened as a spool.
    """

    def __init__(self, path: Path, *, most_events: int = 100_000) -> None:
        self.path = path
        self.dropped = 0
        self.trouble = ""
        self._most = most_events
        self._lock = threading.Lock()
        self._unsaved: deque[SpooledEvent] = deque()
        self._done_place = 0
        self._ask_again_at = 0.0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._claim = self._claimed()
            try:
                self._db = self._opened()
            except BaseException:
                self._claim.close()
                raise
        except (*_DAMAGE, OSError) as error:
            raise SourceError(f"{path}: cannot be used as a spool ({error}); check the folder") from error

    def __len__(self) -> int:
        return self._count + len(self._unsaved)

    def add(self, values: dict[str, Any]) -> None:
        """Append one event's values; beyond what there is room for, the oldest is dropped and counted."""
        with self._lock:
            self._unsaved.append(SpooledEvent(0, uuid.uuid4().hex, values))
            self._save()
            while len(self._unsaved) > MOST_IN_MEMORY:
                self._unsaved.popleft()
                self.dropped += 1

    def oldest(self, most: int) -> list[SpooledEvent]:
        """Up to `most` events, in the order they came; they stay until `remove`d."""
        with self._lock:
            self._save()
            found: list[SpooledEvent] = []
            while not found and (rows := self._rows(most)):
                found = [event for event in map(self._read, rows) if event is not None]
                if not found:
                    self._forget_damaged(rows)
            return found + list(itertools.islice(self._unsaved, most - len(found)))

    def remove(self, events: Sequence[SpooledEvent]) -> None:
        """Forget events that arrived: the oldest ones, as `oldest` gave them."""
        with self._lock:
            places = [event.place for event in events if event.place]
            if places:
                # also where the disk does not take it now: what arrived is not sent again by this run
                self._count -= len(places)
                self._done_place = max(places)
            for event in events:
                if not event.place and self._unsaved and self._unsaved[0].event_id == event.event_id:
                    self._unsaved.popleft()
            self._save()

    def close(self) -> None:
        """Release the file; what waits is sent after the next start."""
        with self._lock:
            self._ask_again_at = 0.0
            self._save()
            self._db.close()
            self._claim.close()

    def _save(self) -> None:
        """Bring the file up to date: forget what is done, write what is only in memory. Never raises."""
        if time.monotonic() < self._ask_again_at:
            return
        try:
            with self._transaction():
                self._db.execute("DELETE FROM waiting WHERE place <= ?", (self._done_place,))
                for event in self._unsaved:
                    body = json.dumps(event.values)
                    self._db.execute(
                        "INSERT INTO waiting (event_id, body) VALUES (?, ?)", (event.event_id, body)
                    )
                extra = self._count + len(self._unsaved) - self._most
                if extra > 0:
                    self._db.execute(
                        "DELETE FROM waiting WHERE place IN "
                        "(SELECT place FROM waiting ORDER BY place LIMIT ?)",
                        (extra,),
                    )
        except _DAMAGE as error:
            self.trouble = f"{self.path}: events cannot be kept on disk ({error}); they are kept in memory"
            self._ask_again_at = time.monotonic() + TRY_AGAIN_S
            return
        self._count += len(self._unsaved) - max(0, extra)
        self.dropped += max(0, extra)
        self._unsaved.clear()
        self.trouble = ""

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _rows(self, most: int) -> list[tuple[int, str, str]]:
        try:
            return self._db.execute(
                "SELECT place, event_id, body FROM waiting WHERE place > ? ORDER BY place LIMIT ?",
                (self._done_place, most),
            ).fetchall()
        except _DAMAGE as error:
            self.trouble = f"{self.path}: cannot be read ({error})"
            return []

    def _read(self, row: tuple[int, str, str]) -> SpooledEvent | None:
        """The event of a row; None where it holds none."""
        place, event_id, body = row
        try:
            values = json.loads(body)
        except (ValueError, TypeError, RecursionError):
            return None
        return SpooledEvent(place, str(event_id), values) if isinstance(values, dict) else None

    def _forget_damaged(self, rows: Sequence[tuple[int, str, str]]) -> None:
        """Drop rows that hold no events, and count them."""
        self.dropped += len(rows)
        self._count -= len(rows)
        self._done_place = rows[-1][0]

    def _claimed(self) -> sqlite3.Connection:
        """A lock that ends with this process, however it ends."""
        claim = sqlite3.connect(
            self.path.with_name(self.path.name + ".lock"),
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            claim.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            claim.close()
            if "locked" not in str(error):
                raise
            raise SpoolInUseError(
                f"{self.path}: in use by another maskwatch; name another --spool"
            ) from error
        return claim

    def _opened(self) -> sqlite3.Connection:
        """The database, and a fresh one where the file is damaged."""
        try:
            return self._connected()
        except _DAMAGE as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
        aside = next(
            path
            for number in itertools.count(1)
            if not (path := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists()
        )
        self.path.replace(aside)
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        opened = self._connected()
        self.trouble = (
            f"{self.path}: was damaged and is set aside as {aside.name}; events in it were not sent"
        )
        return opened

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        db.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            self._check(db)
            if not db.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'waiting'").fetchone()[0]:
                db.execute(TABLE)
            if db.execute("SELECT sql FROM sqlite_master WHERE name = 'waiting'").fetchall() != [(TABLE,)]:
                raise sqlite3.DatabaseError("its table is another one")  # noqa: TRY301 — closed below
            db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            self._count = int(db.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise SourceError(f"{self.path}: a spool of another maskwatch version ({version}); move it away")
        words = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if words != "ok":
            raise sqlite3.DatabaseError(words)


def open_spool(folder: Path, name: str) -> Spool:
    """The first of `name`.db, `name`-2.db … that no running process uses.

    Raises:
        SourceError: none can be opened.
    """
    for number in range(1, 100):
        try:
            return Spool(folder / (f"{name}.db" if number == 1 else f"{name}-{number}.db"))
        except SpoolInUseError:
            continue
    raise SourceError(f"{folder}: a hundred programs use it as their spool; name another --spool")

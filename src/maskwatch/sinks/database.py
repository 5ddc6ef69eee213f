"""Events in a database: SQLite by default, PostgreSQL by address, through SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskwatch.addresses import redact
from maskwatch.errors import OptionError, SourceError
from maskwatch.sinks.schema import SCHEMA_VERSION, driver_words, open_engine, tables
from maskwatch.sinks.spool import SpooledEvent

if TYPE_CHECKING:
    from sqlalchemy import Engine

CLEAN_EVERY_S = 3600.0


class Database:
    """Writes events into the tables `maskwatch_events` and `maskwatch_aggregates`.

    An event that arrives twice is stored once. With `keep_days`, rows stored longer ago are deleted,
    at the start and every hour.

    Raises:
        MissingExtraError: SQLAlchemy (for PostgreSQL, pg8000 too) is not installed.
        OptionError: the address is no database's.
    """

    def __init__(self, url: str, *, keep_days: float | None = None) -> None:
        """`url` as SQLAlchemy reads it: sqlite:///events.db, postgresql://user:password@host/name."""
        if keep_days is not None and not keep_days > 0:
            raise OptionError(f"events must be kept for more than 0 days, not {keep_days:g}")
        self.name = redact(url)
        self._keep_days = keep_days
        self._engine = open_engine(url, self.name)
        self._tables = tables()
        self._is_ready = False
        self._cleaned_at = -CLEAN_EVERY_S

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Store all of `events` in one transaction.

        Raises:
            SourceError: the database cannot be reached, or refuses.
        """
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.begin() as connection:
                if not self._is_ready:
                    self._prepare(connection)
                for table, rows in self._rows(events).items():
                    if rows:
                        connection.execute(_insert_once(self._engine, self._tables.tables[table]), rows)
                self._clean(connection)
            self._is_ready = True
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise SourceError(f"{self.name}: events cannot be stored ({driver_words(cause)})") from error

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def _rows(self, events: Sequence[SpooledEvent]) -> dict[str, list[dict[str, Any]]]:
        """Rows by table."""
        rows: dict[str, list[dict[str, Any]]] = {"maskwatch_events": [], "maskwatch_aggregates": []}
        stored_at = time.time()
        for event in events:
            values = {**event.values, "event_id": event.event_id, "stored_at": stored_at}
            if values["kind"] == "aggregate":
                del values["kind"]
                rows["maskwatch_aggregates"].append(values)
                continue
            box = values.pop("best_xyxy") or (None,) * 4
            values.update(zip(("best_x1", "best_y1", "best_x2", "best_y2"), box, strict=True))
            rows["maskwatch_events"].append(values)
        return rows

    def _prepare(self, connection: Any) -> None:
        """Make the tables where there are none; refuse those of another version."""
        from sqlalchemy import insert, select

        self._tables.create_all(connection)
        schema = self._tables.tables["maskwatch_schema"]
        version = connection.execute(select(schema.c.version)).scalar()
        if version is None:
            connection.execute(insert(schema).values(version=SCHEMA_VERSION))
        elif version != SCHEMA_VERSION:
            raise SourceError(
                f"{self.name}: tables of another maskwatch version ({version}); use another database"
            )

    def _clean(self, connection: Any) -> None:
        """Delete what has been kept long enough."""
        from sqlalchemy import delete

        if self._keep_days is None or time.monotonic() - self._cleaned_at < CLEAN_EVERY_S:
            return
        oldest = time.time() - self._keep_days * 86_400
        for name in ("maskwatch_events", "maskwatch_aggregates"):
            table = self._tables.tables[name]
            connection.execute(delete(table).where(table.c.stored_at < oldest))
        self._cleaned_at = time.monotonic()


def _insert_once(engine: Engine, table: Any) -> Any:
    """An INSERT that leaves rows alone whose `event_id` is there already."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing(index_elements=["event_id"])

"""`EventStore`: reads back what `Database` has written, for the dashboard; it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maskwatch.addresses import redact
from maskwatch.errors import OptionError, SourceError
from maskwatch.labels import VERDICTS
from maskwatch.sinks.schema import driver_words, open_engine, tables

MOST_EVENTS = 100_000
_BOX = ("best_x1", "best_y1", "best_x2", "best_y2")


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; None or empty: any.

    Attributes:
        since, until: wall-clock time (s since 1970), the first inclusive, the second not.
        sources: names of cameras.
        kinds: kinds of event.
        verdicts: verdicts of the person.
        text: words that the message or the rule's name holds.
        offset: so many of the newest are left out (for the next page).
        limit: at most so many, newest first.

    Raises:
        OptionError: `limit` is out of range.
    """

    since: float | None = None
    until: float | None = None
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    text: str = ""
    offset: int = 0
    limit: int = 200

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MOST_EVENTS:
            raise OptionError(f"limit must lie between 1 and {MOST_EVENTS}, not {self.limit}")
        if self.offset < 0:
            raise OptionError(f"offset must be at least 0, not {self.offset}")


class EventStore:
    """The events and sums in one database.

    Raises:
        MissingExtraError: SQLAlchemy is not installed.
        OptionError: the address is no database's.
    """

    def __init__(self, url: str) -> None:
        """`url` as for `Database`."""
        self.name = redact(url)
        self._engine = open_engine(url, self.name)
        self._tables = tables()

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def count(self, wanted: EventFilter) -> int:
        """How many events pass the filter, whatever its offset and limit.

        Raises:
            SourceError: the database cannot be read.
        """
        from sqlalchemy import func, select

        events = self._tables.tables["maskwatch_events"]
        rows = list(self._rows(select(func.count()).select_from(events).where(*self._conditions(wanted))))
        return int(rows[0]["count_1"]) if rows else 0

    def events(self, wanted: EventFilter) -> Iterator[dict[str, Any]]:
        """Events as `Event.to_dict` gives them, newest first.

        Raises:
            SourceError: the database cannot be read.
        """
        from sqlalchemy import select

        events = self._tables.tables["maskwatch_events"]
        query = (
            select(events)
            .where(*self._conditions(wanted))
            .order_by(events.c.wall_time.desc(), events.c.event_id.desc())
            .offset(wanted.offset)
            .limit(wanted.limit)
        )
        for row in self._rows(query):
            box = [row.pop(name) for name in _BOX]
            row["best_xyxy"] = None if box[0] is None else box
            yield row

    def shares(self, since: float, until: float, bucket_s: float) -> dict[str, list[list[float | None]]]:
        """Compliance over time by camera: [begin of the bucket, share or None, most people at once].

        Person-time is added up over each stretch of `bucket_s` seconds; stretches without any are left out.

        Raises:
            SourceError: the database cannot be read.
            OptionError: `bucket_s` is not above 0.
        """
        from sqlalchemy import select

        if not bucket_s > 0:
            raise OptionError(f"a stretch must be longer than 0 s, not {bucket_s:g}")
        sums = self._tables.tables["maskwatch_aggregates"]
        query = (
            select(sums).where(sums.c.wall_time >= since, sums.c.wall_time < until).order_by(sums.c.wall_time)
        )
        cameras: dict[str, dict[float, list[float]]] = {}
        for row in self._rows(query):
            begin = row["wall_time"] // bucket_s * bucket_s
            bucket = cameras.setdefault(row["source_id"], {}).setdefault(begin, [0.0, 0.0, 0.0])
            bucket[0] += row["with_mask_s"]
            bucket[1] += sum(row[f"{name}_s"] for name in VERDICTS[:3])
            bucket[2] = max(bucket[2], row["most"])
        return {
            camera: [
                [begin, round(right_s / sure_s, 4) if sure_s > 0 else None, most]
                for begin, (right_s, sure_s, most) in buckets.items()
            ]
            for camera, buckets in cameras.items()
        }

    def _conditions(self, wanted: EventFilter) -> list[Any]:
        from sqlalchemy import or_

        column = self._tables.tables["maskwatch_events"].c
        found = []
        if wanted.since is not None:
            found.append(column.wall_time >= wanted.since)
        if wanted.until is not None:
            found.append(column.wall_time < wanted.until)
        for values, one in (
            (wanted.sources, column.source_id),
            (wanted.kinds, column.kind),
            (wanted.verdicts, column.verdict),
        ):
            if values:
                found.append(one.in_(values))
        if wanted.text:
            found.append(
                or_(*(one.icontains(wanted.text, autoescape=True) for one in (column.message, column.rule)))
            )
        return found

    def _rows(self, query: Any) -> Iterator[dict[str, Any]]:
        """Rows as dicts; none where nothing was ever stored."""
        from sqlalchemy import inspect
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                stored = inspect(connection)  # SQLite makes one table after the other, for all to see
                if not all(stored.has_table(name) for name in self._tables.tables):
                    return
                for row in connection.execution_options(yield_per=500).execute(query).mappings():
                    yield dict(row)
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise SourceError(f"{self.name}: events cannot be read ({driver_words(cause)})") from error

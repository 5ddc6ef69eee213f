"""The tables that events are stored in, and the engine that reaches them; for the writer and the reader."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from maskwatch.addresses import printable
from maskwatch.errors import MissingExtraError, OptionError
from maskwatch.labels import VERDICTS

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData

SCHEMA_VERSION = 1


def open_engine(url: str, name: str) -> Engine:
    """An engine for SQLite or PostgreSQL; `name` is what errors call it.

    Raises:
        MissingExtraError: SQLAlchemy (for PostgreSQL, pg8000 too) is not installed.
        OptionError: the address is no database's.
    """
    try:
        import sqlalchemy
        from sqlalchemy import event
    except ImportError as error:
        raise MissingExtraError.for_extra("storing events in a database", "SQLAlchemy", "sinks") from error
    # it logs a traceback for each connection that breaks; users are told in a sentence of ours
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+pg8000")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise OptionError(f"{name}: choose sqlite:///FILE or postgresql://HOST/NAME")
        connect = {"timeout": 5} if parsed.get_backend_name() == "postgresql" else {}
        engine = sqlalchemy.create_engine(
            parsed, pool_pre_ping=True, pool_recycle=1800, connect_args=connect, hide_parameters=True
        )
    except (sqlalchemy.exc.ArgumentError, ValueError):  # its words repeat the address, and the password
        raise OptionError(f"{name}: no address of a database; write postgresql://HOST/NAME") from None
    except ImportError as error:
        raise MissingExtraError.for_extra(f"{parsed.get_backend_name()}", "pg8000", "sinks") from error
    if parsed.get_backend_name() == "sqlite":

        @event.listens_for(engine, "connect")
        def _use_write_ahead_log(connection: Any, _: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")

    return engine


def tables() -> MetaData:
    """What is stored; times in seconds, boxes in px of the source."""
    from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text

    def common() -> list[Any]:
        return [
            Column("event_id", String(32), primary_key=True),
            Column("stored_at", Float, nullable=False, index=True),
            Column("source_id", Text, nullable=False),
            Column("at_s", Float, nullable=False),
            Column("wall_time", Float, index=True),
            Column("duration_s", Float, nullable=False),
        ]

    found = MetaData()
    Table("maskwatch_schema", found, Column("version", Integer, primary_key=True))
    Table(
        "maskwatch_events",
        found,
        *common(),
        Column("kind", String(16), nullable=False),
        Column("track_id", Integer),
        Column("verdict", String(32), nullable=False),
        Column("start_s", Float),
        Column("without_mask_s", Float, nullable=False),
        Column("best_score", Float, nullable=False),
        *(Column(f"best_{name}", Float) for name in ("x1", "y1", "x2", "y2")),
        Column("rule", Text, nullable=False),
        Column("message", Text, nullable=False),
    )
    Table(
        "maskwatch_aggregates",
        found,
        *common(),
        Column("people", Integer, nullable=False),
        Column("most", Integer, nullable=False),
        *(Column(f"{name}_s", Float, nullable=False) for name in VERDICTS),
        Column("compliance", Float),
    )
    return found


def driver_words(error: BaseException) -> str:
    """A driver's error in one line; pg8000 gives a dict, of which M is the message."""
    first = error.args[0] if error.args else type(error).__name__
    text = first.get("M", first) if isinstance(first, dict) else first
    return printable(str(text).splitlines()[0]) if str(text) else type(error).__name__

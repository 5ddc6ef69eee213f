"""Open the receiver that an address names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from maskwatch.addresses import printable, redact, scheme_of
from maskwatch.errors import OptionError, SourceError
from maskwatch.sinks.lines import CsvEvents, JsonLines, open_events
from maskwatch.sinks.spool import SpooledEvent

SECRET_VARIABLE = "MASKWATCH_WEBHOOK_SECRET"  # noqa: S105 — the name of a variable, no secret
_FILE_SUFFIXES = (".jsonl", ".json", ".csv")
_DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


class Receiver(Protocol):
    """Where events go; a batch that raises `MaskwatchError` is sent again, with the same ids.

    `RejectedError` means that it will never be taken: then it is counted and forgotten.
    """

    name: str

    def send(self, events: Sequence[SpooledEvent], /) -> None:
        """Deliver all of `events`, or raise."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class EventFile:
    """Appends events to a JSON Lines or CSV file, each once, however often it is sent.

    Opened anew after an error and when somebody moved the file away, as disks fill and logs rotate.
    """

    def __init__(self, path: Path) -> None:
        self.name = printable(str(path))
        self._path = path
        self._lines: JsonLines | CsvEvents | None = None
        self._stored: set[str] = set()
        self._opened()

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Write one line an event; all of them, or none.

        Raises:
            SourceError: the file cannot be written.
        """
        try:
            lines = self._opened()
            fresh = [event for event in events if event.event_id not in self._stored]
            lines.write_values({**event.values, "event_id": event.event_id} for event in fresh)
            lines.sync()
        except SourceError:
            self.close()
            raise
        self._stored = {event.event_id for event in events}  # the last batch alone can come again

    def close(self) -> None:
        """Release the file."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _opened(self) -> JsonLines | CsvEvents:
        """The file, ready to be written."""
        if self._lines is not None and not self._lines.is_current:
            self.close()
        if self._lines is None:
            self._lines = open_events(self._path, append=True)
            self._stored = self._lines.stored_ids()
        return self._lines


def open_receiver(address: str, *, keep_days: float | None = None, node: str = "") -> Receiver:
    """A receiver by its address.

    A file ending in .jsonl or .csv; a SQLite file ending in .db or .sqlite, or any address of
    SQLAlchemy's for SQLite and PostgreSQL; mqtt:// or mqtts://; http:// or https:// for a webhook,
    signed with the secret in the environment's MASKWATCH_WEBHOOK_SECRET; apprise: and one of apprise's
    addresses. `node` names this process where several share one broker.

    Raises:
        OptionError: the address is none of these.
        MissingExtraError: the library it needs is not installed.
        SourceError: the file cannot be opened.
    """
    scheme = scheme_of(address)
    if scheme in ("mqtt", "mqtts"):
        from maskwatch.sinks.mqtt import Mqtt

        return Mqtt(address, node=node)
    if scheme in ("http", "https"):
        from maskwatch.sinks.webhook import Webhook

        return Webhook(address, secret=os.environ.get(SECRET_VARIABLE, ""))
    if scheme == "apprise":
        from maskwatch.sinks.notify import Notifier

        return Notifier(address.partition(":")[2])
    url = database_url(address)
    if url is not None:
        from maskwatch.sinks.database import Database

        return Database(url, keep_days=keep_days)
    if Path(address).suffix.lower() in _FILE_SUFFIXES and "://" not in address:
        return EventFile(Path(address))
    raise OptionError(
        f"{redact(address)}: no receiver; name a file (.jsonl, .csv, .db) or an address starting with "
        "sqlite:, postgresql:, mqtt:, https: or apprise:"
    )


def database_url(address: str) -> str | None:
    """SQLAlchemy's address of a database named as a .db file or by its address; None for the rest."""
    if "://" not in address and Path(address).suffix.lower() in _DATABASE_SUFFIXES:
        return f"sqlite:///{address}"
    scheme = scheme_of(address)
    if scheme.partition("+")[0] in ("sqlite", "postgresql", "postgres"):
        return address.replace("postgres://", "postgresql://", 1)
    return None

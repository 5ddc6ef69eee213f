"""Open the receiver that an address names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from maskwatch.addresses import redact
from maskwatch.errors import OptionError
from maskwatch.sinks.lines import open_events
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
    """Appends events to a JSON Lines or CSV file; opened anew after an error, as disks fill and empty."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._lines = open_events(path, append=True)

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Write one line an event.

        Raises:
            SourceError: the file cannot be written.
        """
        for event in events:
            self._lines.write_values(dict(event.values))

    def close(self) -> None:
        """Release the file."""
        self._lines.close()


def open_receiver(address: str, *, keep_days: float | None = None) -> Receiver:
    """A receiver by its address.

    A file ending in .jsonl or .csv; a SQLite file ending in .db or .sqlite, or any address of
    SQLAlchemy's for SQLite and PostgreSQL; mqtt:// or mqtts://; http:// or https:// for a webhook,
    signed with the secret in the environment's MASKWATCH_WEBHOOK_SECRET; apprise: and one of apprise's
    addresses.

    Raises:
        OptionError: the address is none of these.
        MissingExtraError: the library it needs is not installed.
        SourceError: the file cannot be opened.
    """
    scheme = urlsplit(address).scheme.lower() if ":" in address else ""
    if scheme in ("mqtt", "mqtts"):
        from maskwatch.sinks.mqtt import Mqtt

        return Mqtt(address)
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
    scheme = urlsplit(address).scheme.lower() if ":" in address else ""
    if scheme.partition("+")[0] in ("sqlite", "postgresql", "postgres"):
        return address.replace("postgres://", "postgresql://", 1)
    return None

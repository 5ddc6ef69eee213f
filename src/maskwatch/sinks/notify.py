"""Alerts to people: desktop, mail, Telegram and what else `apprise` knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from maskwatch.addresses import printable
from maskwatch.errors import MissingExtraError, OptionError, SourceError
from maskwatch.sinks.spool import SpooledEvent

TOLD = {"alert", "lost", "back"}
"""Kinds of event that somebody is told of; visits are for tables."""


def _silence(log: logging.Logger) -> None:
    """Keep a library's log from standard error, where Python sends what nobody handles."""
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.propagate = False


class Notifier:
    """Sends each alert, and each loss and return of a camera, to one of apprise's addresses.

    Raises:
        MissingExtraError: apprise is not installed.
        OptionError: apprise does not know the address.
    """

    def __init__(self, url: str) -> None:
        """`url` as apprise reads it: dbus://, mailto://…, tgram://…, ntfy://… ."""
        try:
            import apprise
        except ImportError as error:
            raise MissingExtraError.for_extra("a notification", "apprise", "notify") from error
        # anything in such an address may be a secret, and apprise logs addresses that it does not know
        self.name = f"{printable(url.partition(':')[0])[:20]} notification"
        _silence(logging.getLogger("apprise"))
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise OptionError(f"{self.name}: apprise does not know this address; see its list of services")

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Tell of those events that people are told of, one message a batch.

        Raises:
            SourceError: the service did not take it.
        """
        told = [event.values for event in events if event.values["kind"] in TOLD]
        if not told:
            return
        lines = [f"{values['source_id']}: {values['message']}" for values in told]
        title = "maskwatch" if len(told) == 1 else f"maskwatch: {len(told)} alerts"
        if not self._apprise.notify(title=title, body="\n".join(lines)):
            raise SourceError(f"{self.name}: the service did not take the message")

    def close(self) -> None:
        """Nothing is held open."""

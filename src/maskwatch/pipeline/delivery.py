"""Hand events to receivers that may be slow or dead, without ever waiting for them."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from maskwatch.errors import MaskwatchError, RejectedError
from maskwatch.events import Happening
from maskwatch.sinks.receivers import Receiver, open_receiver
from maskwatch.sinks.spool import Spool, SpooledEvent, open_spool

if TYPE_CHECKING:
    from typing_extensions import Self

    from maskwatch.pipeline.live import LiveStep

BATCH = 100
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


class Delivery:
    """A thread that empties a spool into one receiver; a context manager.

    `write` only puts the event into the spool. While the receiver is away, tries come less and
    less often (up to a minute). Leaving the block gives what still waits `patience_s` to arrive; the rest
    stays in the spool. Nothing vanishes: `found` (in the spool at the start) + `written` is at any time
    `delivered` + `rejected` + `waiting` + the spool's `dropped`.
    """

    def __init__(self, receiver: Receiver, spool: Spool, *, patience_s: float = 3.0) -> None:
        self.receiver, self.spool = receiver, spool
        self.found = len(spool)
        self.written = 0
        self.delivered = 0
        self.rejected = 0
        self.failures = 0
        self.last_error = ""
        self._most = BATCH
        self._patience_s, self._give_up_at = patience_s, math.inf
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"maskwatch-{receiver.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def write(self, event: Happening) -> None:
        """Queue one event; does not wait for the receiver."""
        self.spool.add(event.to_dict())
        self.written += 1
        self._wake.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up_at = time.monotonic() + self._patience_s
        self._stop.set()
        self._wake.set()
        self._thread.join(self._patience_s + FIRST_PAUSE_S)
        self.receiver.close()
        self.spool.close()

    @property
    def waiting(self) -> int:
        """Events that have not arrived yet."""
        return len(self.spool)

    def words(self) -> str:
        """One line for a terminal: what arrived, what did not."""
        events = self.found + self.written
        parts = [f"{self.receiver.name}: {self.delivered} of {events} events delivered"]
        if self.waiting:
            reason = self.last_error or "it did not answer in time"
            parts.append(f"{self.waiting} wait for the next start ({reason})")
        if self.rejected:
            parts.append(f"{self.rejected} refused ({self.last_error})")
        if self.spool.dropped:
            parts.append(f"{self.spool.dropped} dropped")
        return ", ".join(parts)

    @property
    def trouble(self) -> str:
        """What keeps events from being stored, in words; "" while all is well."""
        words = [self.last_error, self.spool.trouble]
        return "; ".join(word for word in words if word)

    def _may_try_again(self, pause_s: float) -> bool:
        """Wait before the next try; once the block is left, only as long as patience lasts."""
        if not self._stop.wait(pause_s):
            return True
        left_s = self._give_up_at - time.monotonic()
        time.sleep(max(0.0, min(FIRST_PAUSE_S, left_s)))
        return left_s > 0

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            events = self.spool.oldest(self._most)
            if not events:
                if self._stop.is_set():
                    return
                self._wake.wait(LONGEST_PAUSE_S)
                self._wake.clear()
                continue
            if self._hand_over(events):
                pause_s = FIRST_PAUSE_S
                continue
            self.failures += 1
            if not self._may_try_again(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _hand_over(self, events: list[SpooledEvent]) -> bool:
        """Send a batch; whether it is done with, one way or the other."""
        try:
            self.receiver.send(events)
        except RejectedError as error:
            self.rejected += len(events)
            self.last_error = str(error)
        except MaskwatchError as error:
            self.last_error = str(error)
            return False
        except Exception as error:  # noqa: BLE001 — a thread that dies would lose all events, and say nothing
            self.last_error = f"{self.receiver.name}: cannot take an event ({type(error).__name__})"
            if len(events) > 1:  # one of them is the cause: find it by sending one at a time
                self._most = 1
                return True
            self.rejected += 1
        else:
            self.delivered += len(events)
            self.last_error = ""
            self._most = min(2 * self._most, BATCH)
        self.spool.remove(events)
        return True


def open_deliveries(
    addresses: Sequence[str], folder: Path, keep_days: float | None = None, *, node: str = ""
) -> Iterator[Delivery]:
    """A delivery for each different address, its spool in `folder`; enter each one.

    `node` keeps apart processes that share addresses and folder.

    Raises:
        OptionError, MissingExtraError, SourceError: as `open_receiver` and `Spool`.
    """
    for address in dict.fromkeys(addresses):
        receiver = open_receiver(address, keep_days=keep_days, node=node)
        digest = hashlib.sha256(f"{node}{address}".encode()).hexdigest()[:16]
        yield Delivery(receiver, open_spool(folder, digest))


def teller(deliveries: Sequence[Delivery]) -> Callable[[LiveStep], None]:
    """Hands events to all receivers, and states to those that show them."""

    def tell(step: LiveStep) -> None:
        for event in step.events:
            for delivery in deliveries:
                delivery.write(event)
        for delivery in deliveries:
            show = getattr(delivery.receiver, "show", None)
            if show is not None:
                status = step.status
                show(step.camera, status.state, status.in_view.counts, status.compliance)

    return tell

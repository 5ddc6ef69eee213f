"""`Gate`: how many requests, and how many of their bytes, are in the house; it says no in time.

A request is counted before its body is read, so that a thousand callers at once cost a thousand
connections, and not a thousand pictures in memory.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING

from maskwatch.errors import ServiceError
from maskwatch.web.limits import MIB, Limits

if TYPE_CHECKING:
    from typing_extensions import Self

FIRST_GUESS_S = 0.1
LONGEST_RETRY_S = 30.0


class Gate:
    """Lets requests in one by one; used in the event loop alone, so it needs no lock."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting = 0
        self.waiting_bytes = 0
        self.refused = 0
        self._answer_s = FIRST_GUESS_S

    def enter(self) -> Ticket:
        """A ticket for one request; give it back by leaving its `with` block.

        Raises:
            ServiceError: the house is full (429).
        """
        if self.waiting >= self.limits.waiting:
            raise self.full(f"{self.waiting} requests are waiting already")
        return Ticket(self)

    def full(self, reason: str) -> ServiceError:
        """What a caller is told who comes at a bad time."""
        self.refused += 1
        wait_s = math.ceil(min(max(1.0, self.waiting * self._answer_s), LONGEST_RETRY_S))
        return ServiceError(f"{reason}; try again in {wait_s} s", status=429, retry_after_s=wait_s)

    def note(self, answer_s: float) -> None:
        """Learn how long the machine is busy with one request, in s."""
        self._answer_s += 0.1 * (answer_s - self._answer_s)


class Ticket:
    """One request that was let in; a context manager."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.size = 0

    def __enter__(self) -> Self:
        self._gate.waiting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.waiting -= 1
        self._gate.waiting_bytes -= self.size

    def take(self, size: int) -> None:
        """Count `size` more bytes of this request's body.

        Raises:
            ServiceError: the body is too large (413), or all bodies together are (429).
        """
        limits = self._gate.limits
        if self.size + size > limits.body_bytes:
            raise ServiceError(
                f"the request is larger than {limits.body_bytes / MIB:g} MiB; send fewer or smaller pictures",
                status=413,
            )
        if self._gate.waiting_bytes + size > limits.waiting_bytes:
            raise self._gate.full("pictures of other requests fill the memory set aside for them")
        self.size += size
        self._gate.waiting_bytes += size

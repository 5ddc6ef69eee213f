"""Times of several calls, taken in turn, so that a busy machine is as unkind to one as to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def in_turn(calls: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, float]:
    """Fastest of `rounds` runs of each call, in s: a machine's noise only ever adds."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - started)
    return best

"""Parts on the processes of this machine, without Ray."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait

from maskwatch.batch.child import Child, ChildDiedError
from maskwatch.batch.options import Job
from maskwatch.batch.part import PartWorker, Receipt
from maskwatch.errors import SourceError

MOST_DEATHS_IN_A_ROW = 20


def run_in_pool(job: Job, parts: Iterable[int], workers: int, on_done: Callable[[Receipt], None]) -> None:
    """Do `parts` in `workers` processes; `on_done` hears of each in the calling thread.

    A worker that dies is replaced, and its part done again.

    Raises:
        SourceError: workers die one after the other, or a store does not answer.
        ModelError: a worker cannot load the model.
    """
    waiting = deque(parts)
    make = functools.partial(PartWorker, job)
    at: dict[Child[int, Receipt], int] = {}
    deaths = 0
    try:
        while waiting or at:
            while waiting and len(at) < workers:
                _give(Child(make), waiting, at)
            ready = {id(one) for one in wait([child.connection for child in at])}
            for child in [one for one in at if id(one.connection) in ready]:
                part = at.pop(child)
                try:
                    receipt = child.answer()
                except ChildDiedError:
                    child.kill()
                    waiting.appendleft(part)
                    deaths += 1
                    if deaths >= MOST_DEATHS_IN_A_ROW:
                        raise SourceError(
                            f"part {part}: {deaths} workers died one after the other; is memory short? "
                            "Try fewer --workers, then run the same command again"
                        ) from None
                    continue
                except BaseException:
                    child.kill()
                    raise
                deaths = 0
                on_done(receipt)
                if waiting:
                    _give(child, waiting, at)
                else:
                    child.kill()
    finally:
        for child in at:
            child.kill()


def _give(child: Child[int, Receipt], waiting: deque[int], at: dict[Child[int, Receipt], int]) -> None:
    at[child] = waiting.popleft()
    child.ask(at[child])

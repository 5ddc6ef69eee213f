"""Signals that end a watch in good order, and one that has its configuration read again."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event, reload: threading.Event | None = None) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the watch as if its time were over: files are finished, events sent.

    SIGHUP, where there is such a signal, sets `reload`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    events = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if reload is not None and hasattr(signal, "SIGHUP"):
        events[signal.SIGHUP] = reload
    before = {number: signal.signal(number, _setter(event)) for number, event in events.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _setter(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: event.set()

"""What the commands that watch cameras share: names, receivers of events, and an orderly end."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from maskwatch.pipeline import Delivery, LiveStep
    from maskwatch.sources.camera import Camera


def name_apart(cameras: list[Camera]) -> None:
    """Give cameras of the same name a number each: names are how they are told apart."""
    names: dict[str, int] = {}
    for camera in cameras:
        names[camera.name] = names.get(camera.name, 0) + 1
        if names[camera.name] > 1:
            camera.name = f"{camera.name} ({names[camera.name]})"


def open_deliveries(sinks: list[str], folder: Path | None, keep_days: float | None) -> Iterator[Delivery]:
    """A delivery with its own spool for each address."""
    from maskwatch.pipeline import Delivery
    from maskwatch.sinks.receivers import open_receiver
    from maskwatch.sinks.spool import Spool

    folder = folder or Path(typer.get_app_dir("maskwatch")) / "spool"
    for address in dict.fromkeys(sinks):
        receiver = open_receiver(address, keep_days=keep_days)
        digest = hashlib.sha256(address.encode()).hexdigest()[:16]
        yield Delivery(receiver, Spool(folder / f"{digest}.db"))


def teller(deliveries: list[Delivery]) -> Callable[[LiveStep], None]:
    """Hands events to all receivers, and states to those that show them."""
    from maskwatch.sinks.mqtt import Mqtt

    shows_state = [one.receiver for one in deliveries if isinstance(one.receiver, Mqtt)]

    def tell(step: LiveStep) -> None:
        for event in step.events:
            for delivery in deliveries:
                delivery.write(event)
        for receiver in shows_state:
            status = step.status
            receiver.show(step.camera, status.state, status.in_view.counts, status.compliance)

    return tell


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the watch as if its time were over: files are finished, events sent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

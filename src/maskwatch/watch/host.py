"""`CameraHost`: some of the cameras, in a process of its own that a supervisor may put anywhere."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from maskwatch.errors import MaskwatchError
from maskwatch.pipeline import CameraStatus
from maskwatch.pipeline.stages import load_tracking
from maskwatch.watch.config import CameraConfig, DetectorConfig
from maskwatch.watch.session import Session

CALLS_PENDING_S = 0.5


@dataclass(frozen=True)
class HostReport:
    """What a host says of itself.

    Attributes:
        life: changes when the host was started anew and knows no cameras any more.
        pid: its process.
        busy: share of the time spent looking, since the last report.
        cameras: names of those it was given.
        statuses: what they have come to.
        deliveries: how receivers do, a line each.
        words: what was said since the last report.
        error: why it does not work, or "".
    """

    life: str
    pid: int
    busy: float
    cameras: tuple[str, ...]
    statuses: tuple[CameraStatus, ...]
    deliveries: tuple[str, ...]
    words: tuple[str, ...]
    error: str = ""


class CameraHost:
    """Watches the cameras that it is given, in a thread; its methods return at once."""

    def __init__(self, name: str, detector: DetectorConfig, spool: Path, keep_days: float | None) -> None:
        """`name` stays the same over all lives: it names spools and the MQTT topic of this host."""
        self._life = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._wanted: dict[str, CameraConfig] | None = None
        self._given: tuple[str, ...] = ()
        self._words: list[str] = []
        self._error = ""
        self._stop = threading.Event()
        self._reported = (time.monotonic(), 0.0)
        loaded, track = load_tracking(
            detector.model, detector.score_threshold, detector.max_side, detector.classifier
        )
        self._session = Session(
            loaded, track, spool / name, node=name, keep_days=keep_days, rounds=(1, detector.at_once)
        )
        self._thread = threading.Thread(target=self._watch, name="maskwatch-host", daemon=True)
        self._thread.start()

    def assign(self, cameras: dict[str, CameraConfig]) -> None:
        """Watch these, and no others, from now on."""
        with self._lock:
            self._wanted, self._given = dict(cameras), tuple(cameras)

    def report(self) -> HostReport:
        """How it goes."""
        with self._lock:
            words, self._words = tuple(self._words), []
        then, busy_s = self._reported
        now, total_s = time.monotonic(), self._session.busy_s
        self._reported = (now, total_s)
        return HostReport(
            life=self._life,
            pid=os.getpid(),
            busy=(total_s - busy_s) / max(now - then, 1e-6),
            cameras=self._given,
            statuses=tuple(replace(status) for status in self._session.statuses),
            deliveries=tuple(one.words() for one in self._session.deliveries),
            words=words,
            error=self._error,
        )

    def close(self) -> HostReport:
        """End all visits, give events the time to arrive, and stop."""
        self._stop.set()
        self._thread.join(30)
        return self.report()

    def _watch(self) -> None:
        try:
            with self._session as session:
                session.run(stop=self._stop, between=self._take_orders)
        except (MaskwatchError, OSError) as error:
            self._error = str(error)

    def _take_orders(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is not None:
            words = self._session.apply(wanted)
            with self._lock:
                self._words += words

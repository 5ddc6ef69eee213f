"""Cameras: the newest picture of each wins, what is dropped is counted, what is lost is said."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskwatch.detections import Detections
from maskwatch.events import Event, Happening
from maskwatch.frames import Frame
from maskwatch.pipeline.people import PeopleWatch, WatchOptions
from maskwatch.sources.camera import Camera, CameraState, Shot
from maskwatch.summary import Summary

if TYPE_CHECKING:
    from typing_extensions import Self

LATENCIES_KEPT = 500


class Newest:
    """A thread that follows one camera and keeps its newest shot alone; a context manager.

    Changes of state are never dropped.
    """

    def __init__(
        self, camera: Iterable[Shot | CameraState], wake: threading.Event, *, fps: float | None = None
    ) -> None:
        """`wake` is set whenever there is something to take.

        Of pictures that come faster than `fps`, those in between are left out and counted in
        `over_rate`; `dropped` counts those that were wanted and came to nothing.
        """
        self.dropped = 0
        self.received = 0
        self.over_rate = 0
        self._fps, self._next_s = fps, -np.inf
        self._camera, self._wake = camera, wake
        self._lock = threading.Lock()
        self._shot: Shot | None = None
        self._states: deque[CameraState] = deque()
        self._thread = threading.Thread(target=self._follow, name="maskwatch-camera", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(timeout=10)

    def stop(self) -> None:
        """End soon, without being waited for."""
        stop = getattr(self._camera, "stop", None)
        if stop is not None:
            stop()

    def take(self) -> Shot | CameraState | None:
        """The next change of state, or else the newest shot, or None; does not wait."""
        with self._lock:
            if self._states:
                return self._states.popleft()
            shot, self._shot = self._shot, None
            return shot

    @property
    def is_running(self) -> bool:
        """Whether the camera may still send something."""
        return self._thread.is_alive() or self._shot is not None or bool(self._states)

    def _is_early(self, at_s: float) -> bool:
        """Whether the next picture is not wanted yet; keeps to the rate on the average."""
        if self._fps is None:
            return False
        if at_s < self._next_s - 0.1 / self._fps:
            return True
        self._next_s = max(self._next_s, at_s - 0.5 / self._fps) + 1 / self._fps
        return False

    def _follow(self) -> None:
        try:
            for item in self._camera:
                with self._lock:
                    if isinstance(item, CameraState):
                        self._states.append(item)
                        if item.state != "live":  # a shot from before the loss is no news
                            self.dropped += self._shot is not None
                            self._shot = None
                    else:
                        self.received += 1
                        if self._is_early(item.captured_s):
                            self.over_rate += 1
                            continue
                        self.dropped += self._shot is not None
                        self._shot = item
                self._wake.set()
        except Exception as error:  # noqa: BLE001 — shown as the camera's state
            with self._lock:
                self._states.append(CameraState("ended", 0.0, reason=f"{type(error).__name__}: {error}"))
        finally:
            self._wake.set()


@dataclass
class CameraStatus:
    """What is known of one camera by now; copy it to keep it.

    `received` pictures were `looked` at, came `over_rate` of what was wanted, or were `dropped` because
    something newer came first or the camera sent far too many; at most one more is waiting.
    """

    name: str
    state: str = "connecting"
    since_s: float = 0.0
    reason: str = ""
    attempt: int = 0
    received: int = 0
    looked: int = 0
    failed: int = 0
    dropped: int = 0
    over_rate: int = 0
    losses: int = 0
    lost_s: float = 0.0
    fps: float = 0.0
    latency_p50_s: float = 0.0
    latency_p95_s: float = 0.0
    in_view: Summary = field(default_factory=Summary)
    compliance: float | None = None
    alerts: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, times rounded to milliseconds."""
        values = {**self.__dict__, "in_view": self.in_view.to_dict()}
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}

    def words(self) -> str:
        """One line for a terminal."""
        if self.state != "live":
            reason = f" ({self.reason}; try {self.attempt})" if self.reason else ""
            return f"{self.name}: {self.state.upper()}{reason}"
        seen = self.in_view
        share = "–" if self.compliance is None else f"{self.compliance:.0%}"
        return (
            f"{self.name}: live {self.fps:.1f} fps, {seen.faces} people ({seen.with_mask} with, "
            f"{seen.without_mask} without, {seen.mask_worn_incorrectly} wrong, {seen.uncertain} unsure), "
            f"compliance {share}, {self.dropped} dropped, "
            f"latency {self.latency_p50_s * 1e3:.0f}/{self.latency_p95_s * 1e3:.0f} ms"
        )

    def farewell(self) -> str:
        """One line about the whole watch."""
        losses = f", lost {self.losses}× for {self.lost_s:.1f} s" if self.losses else ""
        share = "–" if self.compliance is None else f"{self.compliance:.0%}"
        failed = f", {self.failed} damaged" if self.failed else ""
        return (
            f"{self.name}: {self.looked} pictures looked at, {self.dropped} dropped{failed}{losses}, "
            f"{self.alerts} alerts, compliance {share}, latency "
            f"{self.latency_p50_s * 1e3:.0f} ms (95 %: {self.latency_p95_s * 1e3:.0f} ms)"
        )


@dataclass(frozen=True, eq=False)
class LiveStep:
    """News of one camera: a judged picture, or a change of state without one.

    `to_hide` holds all that may be a face, for pictures in which nobody may be recognised.
    """

    camera: str
    frame: Frame | None
    detections: Detections
    events: list[Happening]
    status: CameraStatus
    to_hide: Detections = field(default_factory=Detections.empty)


class Follower:
    """One camera with all that belongs to it."""

    def __init__(
        self,
        camera: Camera,
        options: WatchOptions | None,
        wake: threading.Event,
        *,
        fps: float | None = None,
    ) -> None:
        """`fps` is how many pictures a second are wanted at most; None: all."""
        self.camera = camera
        self.newest = Newest(camera, wake, fps=fps)
        self.looked_at = -1.0
        self.status = CameraStatus(camera.name)
        self._people = PeopleWatch(camera.name, options, wall_origin=camera.started_wall)
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._looked_at: deque[float] = deque(maxlen=50)
        self._away_since_s: float | None = None

    def on_state(self, state: CameraState) -> list[Happening]:
        """Note a change of state; the events it means."""
        status, was = self.status, self.status.state
        status.state, status.since_s = state.state, state.at_s
        status.reason, status.attempt = state.reason, state.attempt
        status.in_view = Summary()
        self._count()
        events: list[Happening] = []
        if state.state in ("lost", "ended"):
            status.fps = 0.0
            self._looked_at.clear()
            events += self._people.close()
        if state.state == "lost" and was != "lost":
            status.losses += 1
            self._away_since_s = state.at_s
            words = f"{status.name} is lost: {state.reason}"
            events.append(self._event("lost", state.at_s, 0.0, words))
        elif state.state == "live" and was == "lost":
            gap_s = state.gap_s or state.at_s - (self._away_since_s or state.at_s)
            status.lost_s += gap_s
            words = f"{status.name} is back after {gap_s:.1f} s"
            events.append(self._event("back", state.at_s, gap_s, words))
        return events

    def on_found(self, frame: Frame, found: Detections) -> tuple[Detections, list[Happening]]:
        """Take the faces found in a picture: the same with ids and verdicts, and what is new."""
        tracked, events = self._people.look(found, frame)
        status = self.status
        status.looked += 1
        self._count()
        status.in_view = Summary().add(tracked)
        status.compliance = self._people.rules.compliance
        status.alerts += sum(event.kind == "alert" for event in events)
        self._latencies.append(self.camera.now_s - frame.pts_s)
        self._looked_at.append(frame.pts_s)
        status.latency_p50_s, status.latency_p95_s = np.percentile(self._latencies, (50, 95)).tolist()
        span_s = self._looked_at[-1] - self._looked_at[0]
        status.fps = (len(self._looked_at) - 1) / span_s if span_s > 0 else 0.0
        return tracked, events

    def to_hide(self, frame: Frame) -> Detections:
        """Every face that may be in the picture just taken."""
        return self._people.to_hide(frame)

    def _count(self) -> None:
        """What came, and what became of it."""
        unseen = int(getattr(self.camera, "discarded", 0))
        self.status.received = self.newest.received + unseen
        self.status.dropped = self.newest.dropped + unseen
        self.status.over_rate = self.newest.over_rate

    def close(self) -> list[Happening]:
        """End all visits."""
        self._count()
        return self._people.close()

    def _event(self, kind: Literal["lost", "back"], at_s: float, duration_s: float, words: str) -> Event:
        wall_time = self.camera.started_wall + at_s
        return Event(kind, self.status.name, at_s, wall_time, duration_s=duration_s, message=words)

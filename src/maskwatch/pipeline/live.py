"""Cameras: the newest picture of each wins, what is dropped is counted, what is lost is said."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskwatch.detections import Detections
from maskwatch.errors import MaskwatchError
from maskwatch.events import Event, Happening
from maskwatch.frames import Frame
from maskwatch.pipeline.images import DetectsFaces
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

    def __init__(self, camera: Iterable[Shot | CameraState], wake: threading.Event) -> None:
        """`wake` is set whenever there is something to take."""
        self.dropped = 0
        self.received = 0
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
        stop = getattr(self._camera, "stop", None)
        if stop is not None:
            stop()
        self._thread.join(timeout=10)

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
    """What is known of one camera by now; read it, or copy it with `snapshot`."""

    name: str
    state: str = "connecting"
    since_s: float = 0.0
    reason: str = ""
    attempt: int = 0
    looked: int = 0
    failed: int = 0
    dropped: int = 0
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


@dataclass(frozen=True, eq=False)
class LiveStep:
    """News of one camera: a judged picture, or a change of state without one."""

    camera: str
    frame: Frame | None
    detections: Detections
    events: list[Happening]
    status: CameraStatus


class _Follower:
    """One camera with all that belongs to it."""

    def __init__(self, camera: Camera, options: WatchOptions | None, wake: threading.Event) -> None:
        self.camera = camera
        self.newest = Newest(camera, wake)
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
        status.in_view, status.dropped = Summary(), self.newest.dropped
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

    def on_shot(self, shot: Shot, detector: DetectsFaces) -> tuple[Frame, Detections, list[Happening]]:
        """Look at one picture."""
        frame = shot.to_frame()
        tracked, events = self._people.look(detector.detect(frame), frame)
        status = self.status
        status.looked += 1
        status.dropped = self.newest.dropped
        status.in_view = Summary().add(tracked)
        status.compliance = self._people.rules.compliance
        status.alerts += sum(event.kind == "alert" for event in events)
        self._latencies.append(self.camera.now_s - shot.captured_s)
        self._looked_at.append(shot.captured_s)
        status.latency_p50_s, status.latency_p95_s = np.percentile(self._latencies, (50, 95)).tolist()
        span_s = self._looked_at[-1] - self._looked_at[0]
        status.fps = (len(self._looked_at) - 1) / span_s if span_s > 0 else 0.0
        return frame, tracked, events

    def close(self) -> list[Happening]:
        """End all visits."""
        return self._people.close()

    def _event(self, kind: Literal["lost", "back"], at_s: float, duration_s: float, words: str) -> Event:
        wall_time = self.camera.started_wall + at_s
        return Event(kind, self.status.name, at_s, wall_time, duration_s=duration_s, message=words)


def watch_cameras(
    cameras: Sequence[Camera],
    detector: DetectsFaces,
    on_step: Callable[[LiveStep], None],
    *,
    options: WatchOptions | None = None,
    duration_s: float | None = None,
    stop: threading.Event | None = None,
) -> list[CameraStatus]:
    """Follow cameras in turn until all have ended, `duration_s` is over or `stop` is set.

    Each camera with a new picture is looked at once a round, so that a fast one does not starve the
    others. `on_step` is called for every picture looked at and every change of state, in the calling
    thread. Returns what each camera came to.
    """
    wake, stop = threading.Event(), stop or threading.Event()
    followers = [_Follower(camera, options, wake) for camera in cameras]
    ends = None if duration_s is None else time.monotonic() + duration_s
    entered: list[_Follower] = []
    try:
        for follower in followers:
            follower.newest.__enter__()
            entered.append(follower)
        while not stop.is_set() and (ends is None or time.monotonic() < ends):
            wake.clear()
            news = [_take(follower, detector, on_step) for follower in followers]
            if any(news):
                continue
            if not any(follower.newest.is_running for follower in followers):
                break
            wake.wait(0.2 if ends is None else max(0.0, min(0.2, ends - time.monotonic())))
    finally:
        for follower in entered:
            follower.camera.stop()
        for follower in entered:
            follower.newest.__exit__(None, None, None)
        for follower in followers:
            events = follower.close()
            if events:
                status = replace(follower.status)
                on_step(LiveStep(follower.camera.name, None, Detections.empty(), events, status))
    return [follower.status for follower in followers]


def _take(follower: _Follower, detector: DetectsFaces, on_step: Callable[[LiveStep], None]) -> bool:
    """Handle one camera's next news; whether there was any."""
    item = follower.newest.take()
    if item is None:
        return False
    name = follower.camera.name
    if isinstance(item, CameraState):
        events = follower.on_state(item)
        on_step(LiveStep(name, None, Detections.empty(), events, replace(follower.status)))
        return True
    try:
        frame, tracked, events = follower.on_shot(item, detector)
    except MaskwatchError:
        follower.status.failed += 1
        return True  # one damaged picture; the next is on its way
    on_step(LiveStep(name, frame, tracked, events, replace(follower.status)))
    return True

"""Many cameras, one detector: in rounds, in which each camera gets one look, and several share a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from maskwatch.codec import ImageSource, Letterboxed
from maskwatch.detections import Detections
from maskwatch.errors import MaskwatchError
from maskwatch.events import Happening
from maskwatch.frames import Frame
from maskwatch.pipeline.images import DetectsFaces
from maskwatch.pipeline.live import CameraStatus, Follower, LiveStep, Newest
from maskwatch.pipeline.people import WatchOptions
from maskwatch.pipeline.threads import ordered_map
from maskwatch.sources.camera import Camera, CameraState, Shot

if TYPE_CHECKING:
    from typing_extensions import Self

IDLE_S = 0.2


@runtime_checkable
class DetectsBatches(Protocol):
    """A detector that takes prepared pictures of several cameras at once."""

    def prepare(self, image: ImageSource, /) -> Letterboxed:
        """One picture, decoded and scaled."""
        ...

    def detect_letterboxed(self, prepared: Sequence[Letterboxed], /) -> list[Detections]:
        """Faces of each."""
        ...


class Rounds:
    """Follows cameras that come and go; a context manager, used from one thread.

    A round takes the newest picture of those cameras that waited longest, at most
    `workers` × `at_once`, so under overload every camera gets the same share of looks, however fast it
    sends. `on_step` is called for every picture looked at and every change of state, in the thread of
    `run`.
    """

    def __init__(
        self,
        detector: DetectsFaces,
        on_step: Callable[[LiveStep], None],
        *,
        workers: int = 1,
        at_once: int = 1,
    ) -> None:
        self._detector, self._on_step = detector, on_step
        self._workers, self._at_once = workers, at_once
        self._followers: dict[str, Follower] = {}
        self._leaving: list[Newest] = []
        self._wake = threading.Event()
        self.busy_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._followers):
            self.remove(name)
        for newest in self._leaving:
            newest.__exit__(kind, error, trace)

    @property
    def statuses(self) -> list[CameraStatus]:
        """What each camera has come to, as it stands."""
        return [follower.status for follower in self._followers.values()]

    @property
    def cameras(self) -> list[Camera]:
        """Those that are followed now."""
        return [follower.camera for follower in self._followers.values()]

    def add(self, camera: Camera, options: WatchOptions | None = None, *, fps: float | None = None) -> None:
        """Follow one more camera, at most `fps` pictures a second; its name must be new."""
        follower = Follower(camera, options, self._wake, fps=fps)
        follower.newest.__enter__()
        self._followers[camera.name] = follower

    def remove(self, name: str) -> CameraStatus:
        """Follow a camera no longer; its visits end. Does not wait for one that hangs."""
        follower = self._followers.pop(name)
        follower.newest.stop()
        self._leaving.append(follower.newest)
        events = follower.close()
        if events:
            self._on_step(LiveStep(name, None, Detections.empty(), events, replace(follower.status)))
        return follower.status

    def run(
        self,
        *,
        stop: threading.Event,
        duration_s: float | None = None,
        until_ended: bool = True,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Go round until `stop` is set, time is over or (`until_ended`) all cameras have ended.

        `between` is called between rounds; it may add and remove cameras.
        """
        ends = float("inf") if duration_s is None else time.monotonic() + duration_s
        while not stop.is_set() and time.monotonic() < ends:
            between()
            self._wake.clear()
            if self._round():
                continue
            if until_ended and not any(one.newest.is_running for one in self._followers.values()):
                break
            self._wake.wait(max(0.0, min(IDLE_S, ends - time.monotonic())))

    def _round(self) -> bool:
        """One look at each camera with something new, longest waiting first; whether there was any."""
        shots: list[tuple[Follower, Shot]] = []
        any_news = False
        for follower in sorted(self._followers.values(), key=lambda one: one.looked_at):
            while isinstance(item := follower.newest.take(), CameraState):
                any_news = True
                events = follower.on_state(item)
                self._tell(follower, None, Detections.empty(), events)
            if item is not None:
                follower.looked_at = time.monotonic()
                shots.append((follower, item))
            if len(shots) == self._workers * self._at_once:
                break
        began = time.monotonic()
        chunks = [shots[start : start + self._at_once] for start in range(0, len(shots), self._at_once)]
        if len(chunks) == 1:
            self._note(chunks[0], self._look(chunks[0]))
        elif chunks:
            for chunk, looks in zip(
                chunks, ordered_map(self._look, chunks, workers=self._workers), strict=True
            ):
                self._note(chunk, looks)
        self.busy_s += time.monotonic() - began
        return any_news or bool(shots)

    def _note(self, chunk: list[tuple[Follower, Shot]], looks: list[tuple[Frame, Detections] | None]) -> None:
        for (follower, _), look in zip(chunk, looks, strict=True):
            if look is None:
                follower.status.failed += 1
                continue  # one damaged picture; the next is on its way
            frame, found = look
            tracked, events = follower.on_found(frame, found)
            self._tell(follower, frame, tracked, events)

    def _look(self, chunk: list[tuple[Follower, Shot]]) -> list[tuple[Frame, Detections] | None]:
        """Faces in pictures of several cameras; None for one that cannot be looked at."""
        if len(chunk) > 1 and isinstance(self._detector, DetectsBatches):
            try:
                frames = [shot.to_frame() for _, shot in chunk]
                prepared = [self._detector.prepare(frame) for frame in frames]
                return list(zip(frames, self._detector.detect_letterboxed(prepared), strict=True))
            except (MaskwatchError, ValueError):
                pass  # one of them is damaged: which, shows one by one
        return [self._look_at_one(shot) for _, shot in chunk]

    def _look_at_one(self, shot: Shot) -> tuple[Frame, Detections] | None:
        try:
            frame = shot.to_frame()
            return frame, self._detector.detect(frame)
        except MaskwatchError:
            return None

    def _tell(
        self, follower: Follower, frame: Frame | None, tracked: Detections, events: list[Happening]
    ) -> None:
        status = replace(follower.status)
        to_hide = Detections.empty() if frame is None else follower.to_hide(frame)
        self._on_step(LiveStep(follower.camera.name, frame, tracked, events, status, to_hide))


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

    `on_step` is called for every picture looked at and every change of state, in the calling thread.
    Returns what each camera came to.
    """
    with Rounds(detector, on_step) as rounds:
        for camera in cameras:
            rounds.add(camera, options)
        statuses = rounds.statuses
        rounds.run(stop=stop or threading.Event(), duration_s=duration_s)
    return statuses

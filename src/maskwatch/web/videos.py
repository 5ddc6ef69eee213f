"""`VideoJobs`: videos are watched one after another, in a thread of their own; callers ask how it goes."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from maskwatch.errors import MaskwatchError, ServiceError
from maskwatch.events import Happening
from maskwatch.pipeline import ClipOptions, ClipSummary, DetectsFaces, process_clip
from maskwatch.sources.video import VideoFile
from maskwatch.web.limits import Limits

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
MOST_EVENTS = 10_000
State = Literal["waiting", "running", "done", "failed", "cancelled"]


class _StoppedError(Exception):
    """The job was cancelled, or has taken too long."""


@dataclass
class VideoJob:
    """One video on its way.

    Attributes:
        name: the file's name, for people.
        video: the file as it came.
        options: how it is watched.
        copy: where the annotated copy goes, or None where none is wanted.
        frames, expected: done so far, and in all where the file says so.
        result: what was seen, once done.
    """

    name: str
    video: Path
    options: ClipOptions
    copy: Path | None
    job_id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    detail: str = ""
    frames: int = 0
    expected: int | None = None
    fps: float = 0.0
    result: dict[str, Any] | None = None
    ended_at: float | None = None
    is_cancelled: bool = False

    @property
    def progress(self) -> float | None:
        """Share that is done, None where nobody knows."""
        if self.state == "done":
            return 1.0
        return min(self.frames / self.expected, 1.0) if self.expected else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        progress = self.progress
        return {
            "id": self.job_id,
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "frames": self.frames,
            "expected": self.expected,
            "progress": None if progress is None else round(progress, 4),
            "fps": round(self.fps, 2),
            "has_copy": self.state == "done" and self.copy is not None,
        }


class VideoJobs:
    """A bounded list of jobs and the thread that works on them; a context manager.

    Videos, copies and results lie in a folder of their own that ends with it; finished ones are deleted
    after `Limits.keep_s`.
    """

    def __init__(self, detector: DetectsFaces, limits: Limits) -> None:
        self._detector, self.limits = detector, limits
        self._jobs: dict[str, VideoJob] = {}
        self._expected: set[Path] = set()
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="maskwatch-videos", daemon=True)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="maskwatch-videos-"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closed = True
            for job in self._jobs.values():
                job.is_cancelled = True
            self._news.notify_all()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether somebody works on jobs."""
        return self._thread.is_alive()

    def receive(self) -> Incoming:
        """A place for one more video, to be filled and then submitted, or left again.

        Raises:
            ServiceError: too many videos are here already (429).
        """
        with self._news:
            if len(self._jobs) + len(self._expected) >= self.limits.videos:
                raise ServiceError(
                    f"{self.limits.videos} videos are here already; delete one, or try again later",
                    status=429,
                    retry_after_s=30,
                )
            place = self._folder / secrets.token_hex(16)
            self._expected.add(place)
        place.mkdir()
        return Incoming(self, place)

    def submit(self, place: Path, job: VideoJob) -> None:
        """Queue a job whose files lie in `place`."""
        with self._news:
            self._expected.discard(place)
            self._jobs[job.job_id] = job
            self._news.notify_all()

    def leave(self, place: Path) -> None:
        """Give a place back that was not submitted."""
        with self._news:
            waited_for = place in self._expected
            self._expected.discard(place)
        if waited_for:
            shutil.rmtree(place, ignore_errors=True)

    def get(self, job_id: str) -> VideoJob:
        """The job of that id.

        Raises:
            ServiceError: there is none, or no longer (404).
        """
        with self._news:
            self._expire()
            job = self._jobs.get(job_id)
        if job is None:
            raise ServiceError("no such video; it may have been deleted", status=404)
        return job

    def kept(self) -> list[VideoJob]:
        """All jobs, oldest first."""
        with self._news:
            self._expire()
            return list(self._jobs.values())

    def delete(self, job_id: str) -> None:
        """Stop a job if it runs, and forget it with its files.

        Raises:
            ServiceError: there is none of that id (404).
        """
        job = self.get(job_id)
        with self._news:
            job.is_cancelled = True
            if job.state == "waiting":
                job.state, job.ended_at = "cancelled", time.monotonic()
            if job.state != "running":
                self._forget(job)
            else:
                del self._jobs[job.job_id]  # its thread removes the files when it notices

    def _expire(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.ended_at is not None and now - job.ended_at > self.limits.keep_s:
                self._forget(job)

    def _forget(self, job: VideoJob) -> None:
        self._jobs.pop(job.job_id, None)
        shutil.rmtree(job.video.parent, ignore_errors=True)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            state: State = "failed"
            try:
                job.result = self._watch(job)
                state = "done"
            except _StoppedError:
                state = "cancelled"
            except MaskwatchError as error:
                job.detail = str(error).replace(str(job.video), job.name or "video")
            except Exception:
                log.exception("a video failed")
                job.detail = "this is a fault of the server; its log says more"
            with self._news:
                job.state, job.ended_at = state, time.monotonic()
                if job.job_id not in self._jobs:
                    self._forget(job)

    def _next(self) -> VideoJob | None:
        """Wait for the next job; None once closed."""
        with self._news:
            while not self._closed:
                self._expire()
                job = next((one for one in self._jobs.values() if one.state == "waiting"), None)
                if job is not None:
                    job.state = "running"
                    return job
                self._news.wait(LOOK_EVERY_S)
        return None

    def _watch(self, job: VideoJob) -> dict[str, Any]:
        with VideoFile(job.video) as source:
            info = source.info
        width, height = info.size_wh
        if width * height > self.limits.pixels:
            raise ServiceError(
                f"{width}×{height} pixels are more than the limit of {self.limits.pixels:,}", status=413
            )
        gives_up_at = time.monotonic() + self.limits.video_s
        events: list[dict[str, Any]] = []

        def on_event(event: Happening) -> None:
            if len(events) < MOST_EVENTS:
                events.append(_event_of(event))

        def on_step(_: object) -> None:
            if job.is_cancelled:
                raise _StoppedError
            if time.monotonic() > gives_up_at:
                raise ServiceError(f"it took longer than {self.limits.video_s:g} s", status=413)

        def report(frames: int, expected: int | None, fps: float) -> None:
            job.frames, job.expected, job.fps = frames, expected, fps

        summary = process_clip(
            job.video,
            job.copy,
            self._detector,
            job.options,
            on_step=on_step,
            on_event=on_event,
            report=report,
        )
        return {
            "name": job.name,
            "width": width,
            "height": height,
            "summary": _summary_of(summary),
            "events": events,
        }


class Incoming:
    """Where a video is put while it arrives; a context manager that tidies up what is not submitted."""

    def __init__(self, jobs: VideoJobs, place: Path) -> None:
        self._jobs, self._place = jobs, place
        self._video: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.leave(self._place)

    def open(self, suffix: str) -> BinaryIO:
        """The file to write the video to."""
        self._video = self._place / f"video{suffix}"
        return self._video.open("wb")

    def submit(self, name: str, options: ClipOptions, *, with_copy: bool) -> VideoJob:
        """Queue what has arrived."""
        assert self._video is not None
        copy = self._place / "annotated.mp4" if with_copy else None
        job = VideoJob(name, self._video, options, copy)
        self._jobs.submit(self._place, job)
        return job


def _event_of(event: Happening) -> dict[str, Any]:
    values = event.to_dict()
    del values["source_id"]  # a path on the server's disk
    return values


def _summary_of(summary: ClipSummary) -> dict[str, Any]:
    sure = sum(summary.people.values()) - summary.people["uncertain"]
    return {
        "frames": summary.frames,
        "damaged": summary.damaged,
        "people": sum(summary.people.values()),
        **summary.people,
        "compliance": round(summary.people["with_mask"] / sure, 4) if sure else None,
        "without_mask_s": round(summary.without_mask_s, 3),
        "alerts": summary.alerts,
        "elapsed_s": round(summary.elapsed_s, 3),
    }

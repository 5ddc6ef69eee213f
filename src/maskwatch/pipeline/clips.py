"""One video file from its first frame to its annotated copy and its tables."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from maskwatch.addresses import printable
from maskwatch.errors import OptionError, SourceError
from maskwatch.events import Event, Happening
from maskwatch.files import same_file
from maskwatch.labels import VERDICTS
from maskwatch.pipeline.drawing import drawn
from maskwatch.pipeline.images import DetectsFaces
from maskwatch.pipeline.people import PeopleWatch, WatchOptions
from maskwatch.pipeline.threads import Background
from maskwatch.pipeline.video import VideoStep, usual_every, watch_frames
from maskwatch.sinks.video_file import VideoWriter
from maskwatch.sources.video import VideoFile, check_rotate

STEPS_BEHIND = 2


@dataclass(frozen=True)
class ClipOptions:
    """How a video is watched.

    Attributes:
        every: look at every so many frames, follow the faces in between; None: as `usual_every` says,
            and at each one where `blur` is asked for.
        start_s, end_s: the part to watch, None for its ends.
        rotate: degrees clockwise that make its pictures upright, beside what its metadata say.
        blur: make the faces in the copy unrecognisable.
        watch: how people are followed, and what is told of them.
        workers: frames looked at at the same time; 0: one a core.

    Raises:
        OptionError: `rotate` is no right angle.
    """

    every: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    rotate: int = 0
    blur: bool = False
    watch: WatchOptions = field(default_factory=WatchOptions)
    workers: int = 0

    def __post_init__(self) -> None:
        check_rotate(self.rotate)


@dataclass
class ClipSummary:
    """What was seen in one video.

    Attributes:
        frames, damaged: frames read, and those that could not be decoded.
        people: how many persons left with each verdict.
        without_mask_s: person-seconds without a mask.
        alerts: alerts of rules.
        elapsed_s: how long it took.
        label_flips, verdict_flips: changes of a person's label, and verdict, from look to look.
    """

    frames: int = 0
    damaged: int = 0
    people: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    without_mask_s: float = 0.0
    alerts: int = 0
    elapsed_s: float = 0.0
    label_flips: int = 0
    verdict_flips: int = 0

    @property
    def fps(self) -> float:
        """Frames a second, from opening to closing."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def note(self, event: Happening) -> None:
        """Count one event."""
        if not isinstance(event, Event):
            return
        if event.kind == "end":
            self.people[event.verdict] += 1
            self.without_mask_s += event.without_mask_s
        self.alerts += event.kind == "alert"

    def __str__(self) -> str:
        count = sum(self.people.values())
        verdicts = ", ".join(
            f"{self.people[name]} {words}"
            for name, words in zip(VERDICTS, ("with mask", "without", "worn wrong", "uncertain"), strict=True)
        )
        damaged = f" ({self.damaged} damaged)" if self.damaged else ""
        alerts = f", {self.alerts} alerts" if self.alerts else ""
        return (
            f"{self.frames} frames{damaged}, {count} people: {verdicts}; {self.without_mask_s:.1f} s "
            f"without a mask{alerts}; {self.fps:.1f} fps"
        )


def process_clip(
    path: Path,
    target: Path | None,
    detector: DetectsFaces,
    options: ClipOptions | None = None,
    *,
    on_step: Callable[[VideoStep], None] = lambda step: None,
    on_event: Callable[[Happening], None] = lambda event: None,
    report: Callable[[int, int | None, float], None] = lambda frames, expected, fps: None,
) -> ClipSummary:
    """Watch one video and write its annotated copy to `target` (None: none).

    Decoding, detection and encoding run side by side. `on_step` sees each frame and `on_event` each
    event, in order, in the calling thread; `report` hears frames done, frames expected and fps now
    and then. Interrupted, it still finishes the copy with what was done so far.

    Raises:
        SourceError: the video cannot be read, or the copy not written.
        OptionError: the copy would overwrite the video, or an option is out of range.
    """
    options = options or ClipOptions()
    if target is not None and same_file(target, path):
        raise OptionError(f"{target}: would overwrite the video it is made from; choose another --output")
    people = PeopleWatch(printable(str(path)), options.watch)
    summary = ClipSummary()
    started = time.monotonic()

    def note(events: list[Happening]) -> None:
        for event in events:
            summary.note(event)
            on_event(event)

    with (
        VideoFile(path, start_s=options.start_s, end_s=options.end_s, rotate=options.rotate) as source,
        contextlib.ExitStack() as stack,
    ):
        show: Callable[[VideoStep], None] | None = None
        if target is not None:
            writer = stack.enter_context(
                VideoWriter(
                    target,
                    rate=source.info.rate,
                    time_base=source.info.time_base,
                    sound_from=path,
                    origin_s=source.info.origin_s,
                )
            )

            def draw(step: VideoStep) -> None:
                writer.write(drawn(step, blur=options.blur), step.frame.pts_s)

            show = stack.enter_context(Background(draw, size=STEPS_BEHIND)).put
        try:
            every = options.every
            if every is None:
                every = 1 if options.blur else usual_every(source.info.rate)
            steps = watch_frames(source, detector, people, every=every, workers=options.workers)
            for step in stack.enter_context(contextlib.closing(steps)):
                summary.frames += 1
                note(step.events)
                on_step(step)
                if show is not None:
                    show(step)
                fps = summary.frames / max(time.monotonic() - started, 1e-6)
                report(summary.frames, source.info.frames, fps)
        finally:
            note(people.close())
            summary.damaged = source.damaged
    if not summary.frames:
        raise SourceError(f"{path}: not one frame lies between --start and --end; choose other times")
    summary.label_flips, summary.verdict_flips = people.label_flips, people.verdict_flips
    summary.elapsed_s = time.monotonic() - started
    return summary

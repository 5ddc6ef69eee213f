"""Frames in, tracked and judged frames out, in order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from fractions import Fraction

from maskwatch.detections import Detections
from maskwatch.errors import OptionError
from maskwatch.events import Happening
from maskwatch.frames import Frame
from maskwatch.pipeline.images import DetectsFaces
from maskwatch.pipeline.people import PeopleWatch
from maskwatch.pipeline.threads import ordered_map, prefetch

FRAMES_AHEAD = 2
LOOKS_A_SECOND = 12.5
"""Enough to follow people: every second frame of most videos. A verdict needs seconds, not frames."""


@dataclass(frozen=True)
class VideoStep:
    """One frame, its faces with ids and verdicts, what is new, and whether anyone looked at it.

    `to_hide` holds all that may be a face, for pictures in which nobody may be recognised.
    """

    frame: Frame
    detections: Detections
    events: list[Happening]
    looked: bool
    to_hide: Detections


def usual_every(rate: Fraction) -> int:
    """Look at every so many frames of a video with `rate` frames a second, if nobody says otherwise."""
    return max(1, round(rate / Fraction(LOOKS_A_SECOND)))


def watch_frames(
    frames: Iterable[Frame],
    detector: DetectsFaces,
    people: PeopleWatch,
    *,
    every: int = 1,
    workers: int = 0,
) -> Generator[VideoStep, None, None]:
    """Detect in every `every`th frame, `workers` at a time (0: one a core), and follow in between.

    Decoding runs in a thread of its own; no frame is dropped or reordered. The last step's events do
    not hold the ends of visits that are still going on: `people.close()` gives those.

    Raises:
        OptionError: `every` is below 1.
    """
    if every < 1:
        raise OptionError(f"--every must be at least 1, not {every}")

    def detect(frame: Frame) -> tuple[Frame, Detections | None]:
        return frame, detector.detect(frame) if frame.index % every == 0 else None

    with contextlib.closing(prefetch(frames, size=FRAMES_AHEAD)) as ahead:
        for frame, found in ordered_map(detect, ahead, workers=workers or os.cpu_count() or 1):
            if found is None:
                yield VideoStep(frame, people.skip(frame), [], False, people.to_hide(frame))
            else:
                tracked, events = people.look(found, frame)
                yield VideoStep(frame, tracked, events, True, people.to_hide(frame))

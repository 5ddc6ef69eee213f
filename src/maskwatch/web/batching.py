"""`Batcher`: pictures of many requests share the network's runs on a few threads, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from maskwatch.annotate import annotate, blur_faces
from maskwatch.classifier import TwoStage
from maskwatch.closer import FIRST_SIDE
from maskwatch.codec import Letterboxed, encode_image, letterbox, read_picture
from maskwatch.detections import Detections
from maskwatch.errors import MaskwatchError
from maskwatch.model_card import ModelCard
from maskwatch.web.limits import Limits

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)


class DetectsTogether(Protocol):
    """What the batcher needs of a detector; tests pass a fake one."""

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        ...

    def detect_letterboxed(
        self, prepared: Sequence[Letterboxed], /, *, score_threshold: float | None = None
    ) -> list[Detections]:
        """Faces of prepared pictures, in their order."""
        ...

    def look_again(
        self,
        image: bytes,
        one: Letterboxed,
        faces: Detections,
        /,
        *,
        turned: bool,
        nearer: bool,
        score_threshold: float | None = None,
    ) -> Detections:
        """`faces` of a photo, or better ones where it lies on its side, or is large with small faces."""
        ...


@dataclass(frozen=True)
class Task:
    """One encoded picture, and what is wanted of it.

    Attributes:
        data: the file's bytes.
        max_side: larger pictures are scaled down to this many px; None: as `DetectOptions` has it.
        score_threshold: faces below are left out; None: the model card's value.
        turned: whether a picture without a sure face is looked at turned, too.
        drawn: whether the picture is wanted back, with boxes drawn on it.
        blur: whether its faces are to be made unrecognisable.
    """

    data: bytes
    max_side: int | None = None
    score_threshold: float | None = None
    turned: bool = True
    drawn: bool = False
    blur: bool = False


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in a picture of `size_wh` px; `jpeg` is the drawn copy, or b""."""

    size_wh: tuple[int, int]
    detections: Detections
    jpeg: bytes = b""


@dataclass(frozen=True, eq=False)
class _Errand:
    """A task on its way, and where its result is waited for."""

    task: Task
    future: Future[Look] = field(default_factory=Future)


_Ready = tuple[_Errand, Letterboxed]


class Batcher:
    """Threads that detect; a context manager.

    No picture waits for others to come: a free thread takes its share of what waits by then, so
    a lone caller loses nothing. Small pictures of one size run through the network together; large ones
    do not, as a processor is slower at that (docs/web.md). Who waits is bounded by the `Gate`.
    """

    def __init__(
        self,
        detector: DetectsTogether,
        *,
        workers: int,
        together: int,
        together_px: int = Limits.together_px,
        on_batch: Callable[[int, float], None] = lambda pictures, seconds: None,
        stages: TwoStage | None = None,
    ) -> None:
        """At most `together` pictures, and `together_px` px unless it is one, share a run of the network.

        `on_batch` hears of how many pictures a run was, and how long it took with decoding.
        With `stages`, its classifier labels the faces that `detector` found.
        """
        self.detector, self.stages = detector, stages
        self._together, self._together_px, self._on_batch = together, together_px, on_batch
        self._news = threading.Condition()
        self._waiting: deque[_Errand] = deque()
        self._idle = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"maskwatch-detect-{number}", daemon=True)
            for number in range(workers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._closed = True
            for errand in self._waiting:
                errand.future.cancel()
            self._waiting.clear()
            self._news.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def is_running(self) -> bool:
        """Whether every thread is at work or waiting for some."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    def submit(self, task: Task) -> Future[Look]:
        """Queue one picture; cancelling the future takes it out, unless it is being looked at."""
        errand = _Errand(task)
        with self._news:
            if self._closed:
                errand.future.cancel()
                return errand.future
            self._waiting.append(errand)
            self._news.notify()
        return errand.future

    def _work(self) -> None:
        while errands := self._take():
            wanted = [errand for errand in errands if errand.future.set_running_or_notify_cancel()]
            try:
                self._look(wanted)
            except BaseException as error:
                log.exception("a run of the network failed")
                for errand in wanted:
                    if not errand.future.done():
                        errand.future.set_exception(error)

    def _take(self) -> list[_Errand]:
        """This thread's share of what waits; nothing once the batcher is closed."""
        with self._news:
            self._idle += 1
            self._news.wait_for(lambda: self._waiting or self._closed)
            share = -(-len(self._waiting) // self._idle)
            self._idle -= 1
            return [self._waiting.popleft() for _ in range(min(share, self._together))]

    def _look(self, errands: list[_Errand]) -> None:
        """Decode one after another; pictures of one size share a run as long as it stays small."""
        groups: dict[tuple[int, ...], list[_Ready]] = {}
        started = time.perf_counter()
        for errand in errands:
            try:
                boxed = self._prepare(errand.task)
            except MaskwatchError as error:
                errand.future.set_exception(error)
                continue
            group = groups.setdefault(boxed.pixels.shape, [])
            group.append((errand, boxed))
            height, width = boxed.pixels.shape[:2]
            if (len(group) + 1) * height * width > self._together_px:
                started = self._run(groups.pop(boxed.pixels.shape), started)
        for group in groups.values():
            started = self._run(group, started)

    def _run(self, group: list[_Ready], started: float) -> float:
        """One run of the network; when it was over."""
        thresholds = [self._threshold(errand.task) for errand, _ in group]
        boxed = [one_boxed for _, one_boxed in group]
        try:
            found = self.detector.detect_letterboxed(boxed, score_threshold=min(thresholds))
        except MaskwatchError as error:
            if len(group) == 1:
                group[0][0].future.set_exception(error)
                return time.perf_counter()
            for ready in group:  # one of them is to blame, and the others shall not suffer
                started = self._run([ready], started)
            return started
        for (errand, one), detections, threshold in zip(group, found, thresholds, strict=True):
            # suppression goes from the best face down, so weaker ones change nothing above them
            faces = detections[detections.score >= threshold]
            try:
                faces = self.detector.look_again(
                    errand.task.data,
                    one,
                    faces,
                    turned=errand.task.turned,
                    nearer=errand.task.max_side is None,
                    score_threshold=threshold,
                )
                if self.stages is not None and len(faces):
                    faces = self.stages.judge(read_picture(errand.task.data).image, faces)
                jpeg = _drawn(errand.task, faces) if errand.task.drawn else b""
            except MaskwatchError as error:
                errand.future.set_exception(error)
                continue
            errand.future.set_result(Look(one.size_wh, faces, jpeg))
        ended = time.perf_counter()
        self._on_batch(len(group), ended - started)
        return ended

    def _prepare(self, task: Task) -> Letterboxed:
        side = FIRST_SIDE if task.max_side is None else task.max_side
        picture = read_picture(task.data, needed_side=side)
        return letterbox(picture, max_side=side, size_multiple=self.detector.card.size_multiple)

    def _threshold(self, task: Task) -> float:
        if task.score_threshold is None:
            return self.detector.card.score_threshold
        return task.score_threshold


def _drawn(task: Task, faces: Detections) -> bytes:
    """The picture at its full size with boxes on it, as a JPEG."""
    image = read_picture(task.data).image
    return encode_image(annotate(blur_faces(image, faces) if task.blur else image, faces), ".jpg")

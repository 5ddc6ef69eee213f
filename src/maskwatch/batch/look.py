"""Look at one encoded picture; in a process of its own where pictures have killed their worker."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

from maskwatch.annotate import annotate, blur_faces
from maskwatch.batch.child import Child, ChildDiedError
from maskwatch.batch.options import BatchOptions, Job
from maskwatch.batch.rows import PictureRow
from maskwatch.classifier import TwoStage
from maskwatch.closer import CLOSER_SIDE
from maskwatch.codec import encode_image, read_picture
from maskwatch.detector import DetectOptions, Detector
from maskwatch.errors import ImageError, MaskwatchError, ModelError
from maskwatch.pipeline.stages import load_stages

LONGEST_LOOK_S = 300.0


@dataclass(frozen=True)
class Encoded:
    """A picture's bytes, or the error that kept them from being read."""

    index: int
    path: str
    data: bytes
    error: str = ""


def load(options: BatchOptions) -> Detector | TwoStage:
    """The detector of a batch: one thread, as there are many workers.

    Raises:
        ModelError, OptionError: as `load_stages`.
    """
    detect = DetectOptions(
        score_threshold=options.score_threshold, max_side=options.max_side, turned=options.turned, threads=1
    )
    return load_stages(options.model, detect, options.classifier, options.face_detector)


class Looker:
    """A loaded detector that turns encoded pictures into rows and copies.

    Raises:
        ModelError: a model is missing here, or is another than the job began with.
    """

    def __init__(self, job: Job) -> None:
        self._options = job.options
        self._detector = load(job.options)
        found = self._detector.card.sha256
        if found != job.model_sha256:
            raise ModelError(
                f"{self._detector.card.name}: this machine has another model ({found[:12]}) than the job "
                f"began with ({job.model_sha256[:12]}); give every node the same"
            )
        only_one = isinstance(self._detector, Detector)
        self._needed_side = (job.options.max_side or CLOSER_SIDE) if only_one else None

    def look(self, one: Encoded) -> PictureRow:
        """Detect in one picture; what goes wrong with it is its row's error."""
        row = PictureRow(one.index, one.path)
        if one.error:
            return replace(row, error=one.error)
        row = replace(row, size_bytes=len(one.data))
        try:
            picture = read_picture(one.data, needed_side=self._needed_side, name=one.path)
            return replace(row, size_wh=picture.size_wh, detections=self._detector.detect(picture))
        except MaskwatchError as error:
            return replace(row, error=str(error))

    def copy(self, one: Encoded, row: PictureRow, suffix: str) -> bytes | None:
        """The picture with its faces drawn in or blurred, encoded; None where there is none."""
        if row.detections is None:
            return None
        try:
            image = read_picture(one.data, name=one.path).image
        except ImageError:
            return None
        if self._options.blur:
            image = blur_faces(image, row.detections)
        if self._options.annotated:
            image = annotate(image, row.detections)
        return encode_image(image, suffix)


class CarefulLooker:
    """Looks in a child process, so that a picture that kills or hangs it costs a row and no more."""

    def __init__(
        self,
        job: Job,
        *,
        make: Callable[[Job], Callable[[Encoded], PictureRow]] | None = None,
        patience_s: float = LONGEST_LOOK_S,
    ) -> None:
        """`make` gives what looks, in the child; None: a `Looker`. It has `patience_s` for a picture."""
        self._job = job
        self._make = make or _looking
        self._patience_s = patience_s
        self._child: Child[Encoded, PictureRow] | None = None

    def look(self, one: Encoded) -> PictureRow:
        """As `Looker.look`."""
        if self._child is None:
            self._child = Child(functools.partial(self._make, self._job))
        self._child.ask(one)
        try:
            if self._child.connection.poll(self._patience_s):
                return self._child.answer()
            what = f"did not end within {self._patience_s:g} s"
        except ChildDiedError:
            what = "died"
        self.close()
        words = f"{one.path}: the detector {what} on it, and did so before; look at this picture by itself"
        return PictureRow(one.index, one.path, len(one.data), error=words)

    def close(self) -> None:
        """End the child process."""
        if self._child is not None:
            self._child.kill()
            self._child = None


def _looking(job: Job) -> Callable[[Encoded], PictureRow]:
    return Looker(job).look

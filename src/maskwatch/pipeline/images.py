"""Detect in picture files, several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from maskwatch.codec import ImageSource
from maskwatch.detections import Detections
from maskwatch.errors import MaskwatchError
from maskwatch.frames import ImageFile
from maskwatch.pipeline.threads import ordered_map


class DetectsFaces(Protocol):
    """What the loop needs of a detector; tests pass a fake one."""

    def detect(self, image: ImageSource, /) -> Detections:
        """Faces of one picture."""
        ...


@dataclass(frozen=True)
class ImageResult:
    """What became of one picture file: detections, or the error that kept it from being read."""

    file: ImageFile
    detections: Detections
    error: MaskwatchError | None = None


def detect_files(
    files: Iterable[ImageFile],
    detector: DetectsFaces,
    then: Callable[[ImageResult], None] = lambda result: None,
    *,
    workers: int = 0,
) -> Iterator[ImageResult]:
    """Detect in picture files, `workers` at a time (0: one a core); results come in order.

    `then` runs in the worker right after detection, for example to annotate and write a copy; a
    `MaskwatchError` in it becomes the result's error. A picture that cannot be read is a result
    with an error, and the others go on.
    """

    def work(file: ImageFile) -> ImageResult:
        try:
            result = ImageResult(file, detector.detect(file.path))
            then(result)
        except MaskwatchError as error:
            return ImageResult(file, Detections.empty(), error)
        return result

    yield from ordered_map(work, files, workers=workers or os.cpu_count() or 1)

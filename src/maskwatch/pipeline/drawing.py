"""How a step of a video or a camera looks in a copy, a recording, a window and on a page."""

from __future__ import annotations

from maskwatch.annotate import annotate, blur_faces
from maskwatch.frames import Image
from maskwatch.pipeline.live import LiveStep
from maskwatch.pipeline.video import VideoStep


def drawn(step: VideoStep | LiveStep, *, blur: bool) -> Image:
    """The step's picture, (h, w, 3) RGB, with its people; with `blur` all that may be a face is hidden.

    A step without a picture cannot be drawn.
    """
    assert step.frame is not None
    image = blur_faces(step.frame.image, step.to_hide) if blur else step.frame.image
    return annotate(image, step.detections)

"""The detector that a command's options ask for: one stage, or two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwatch.classifier import TwoStage
    from maskwatch.detector import DetectOptions, Detector


def load_stages(
    model: Path | None, detect_options: DetectOptions, classifier: Path | None, face_detector: Path | None
) -> Detector | TwoStage:
    """Load the detector, and behind it the classifier if there is one.

    Raises:
        OptionError: a face detector without a classifier, or two first stages.
    """
    from maskwatch.detector import Detector
    from maskwatch.errors import OptionError

    if classifier is None:
        if face_detector is not None:
            raise OptionError("--face-detector only finds faces; add --classifier to judge them")
        return Detector(model, detect_options)
    from maskwatch.classifier import Classifier, TwoStage

    judge = Classifier(classifier, threads=1)
    if face_detector is None:
        return TwoStage(Detector(model, detect_options), judge)
    if model is not None:
        raise OptionError("--model and --face-detector both find faces; leave one out")
    from maskwatch.opencv_faces import OpenCvFaces

    return TwoStage(OpenCvFaces(face_detector, detect_options.score_threshold), judge)

"""The detector that options ask for, one stage or two, and track options that fit it."""

from __future__ import annotations

from pathlib import Path

from maskwatch.classifier import Classifier, TwoStage
from maskwatch.detector import DetectOptions, Detector
from maskwatch.errors import OptionError
from maskwatch.tracker import WEAK_SCORE, TrackOptions


def load_stages(
    model: Path | None, detect_options: DetectOptions, classifier: Path | None, face_detector: Path | None
) -> Detector | TwoStage:
    """Load the detector, and behind it the classifier if there is one.

    Raises:
        OptionError: a face detector without a classifier, or two first stages.
        ModelError: a file is missing, or no model of its kind.
    """
    if classifier is None:
        if face_detector is not None:
            raise OptionError("--face-detector only finds faces; add --classifier to judge them")
        return Detector(model, detect_options)
    judge = Classifier(classifier, threads=1)
    if face_detector is None:
        return TwoStage(Detector(model, detect_options), judge)
    if model is not None:
        raise OptionError("--model and --face-detector both find faces; leave one out")
    from maskwatch.opencv_faces import OpenCvFaces

    return TwoStage(OpenCvFaces(face_detector, detect_options.score_threshold), judge)


def load_tracking(
    model: Path | None,
    score_threshold: float | None,
    max_side: int,
    classifier: Path | None = None,
    face_detector: Path | None = None,
    *,
    device: str = "cpu",
) -> tuple[Detector | TwoStage, TrackOptions]:
    """Load the detector with a low threshold: weak faces may go on with a track but start none."""
    sure = score_threshold
    weak = WEAK_SCORE if sure is None or sure > WEAK_SCORE else sure
    options = DetectOptions(score_threshold=weak, max_side=max_side, threads=1, device=device)
    detector = load_stages(model, options, classifier, face_detector)
    if sure is None:
        # OpenCV's cards state the threshold they run at, which is the weak one here
        sure = 0.5 if face_detector is not None else detector.card.score_threshold
    return detector, TrackOptions(score_threshold=sure)

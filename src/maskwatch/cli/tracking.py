"""A detector and track options that fit each other, for the commands that follow people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwatch.classifier import TwoStage
    from maskwatch.detector import Detector
    from maskwatch.tracker import TrackOptions


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
    from maskwatch.cli.stages import load_stages
    from maskwatch.detector import DetectOptions
    from maskwatch.tracker import WEAK_SCORE, TrackOptions

    sure = score_threshold
    weak = WEAK_SCORE if sure is None or sure > WEAK_SCORE else sure
    options = DetectOptions(score_threshold=weak, max_side=max_side, threads=1, device=device)
    detector = load_stages(model, options, classifier, face_detector)
    if sure is None:
        # OpenCV's cards state the threshold they run at, which is the weak one here
        sure = 0.5 if face_detector is not None else detector.card.score_threshold
    return detector, TrackOptions(score_threshold=sure)

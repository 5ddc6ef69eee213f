"""A detector and track options that fit each other, for the commands that follow people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskwatch.detector import Detector
    from maskwatch.tracker import TrackOptions


def load_tracking(
    model: Path | None, score_threshold: float | None, max_side: int
) -> tuple[Detector, TrackOptions]:
    """Load the detector with a low threshold: weak faces may go on with a track but start none."""
    from maskwatch.detector import DetectOptions, Detector
    from maskwatch.tracker import WEAK_SCORE, TrackOptions

    options = DetectOptions(score_threshold=score_threshold, max_side=max_side, threads=1)
    sure = score_threshold
    if sure is None or sure > WEAK_SCORE:
        options = DetectOptions(score_threshold=WEAK_SCORE, max_side=max_side, threads=1)
    detector = Detector(model, options)
    return detector, TrackOptions(score_threshold=detector.card.score_threshold if sure is None else sure)

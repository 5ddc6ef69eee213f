"""One verdict a person, not one a frame: evidence adds up over a track, so verdicts don't flicker.

Each look at a face gives log-odds between the labels. Looks are weighed by the face's size and
sharpness and by the time since the last one (neighbouring frames say nearly the same), added up
with a half-life, and a verdict changes only when another label is clearly ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from maskwatch.detections import Detections
from maskwatch.errors import OptionError
from maskwatch.frames import Image
from maskwatch.labels import LABELS, UNCERTAIN

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VerdictOptions:
    """How evidence becomes a verdict.

    Attributes:
        decide_odds: a label becomes the verdict when it is this many times likelier than the next.
        doubt_odds: a verdict stays until another label is this many times likelier than its own;
            then it is `uncertain`, until one is decided again (hysteresis).
        most_odds: evidence is capped here, so that a mask taken off is noticed within a second.
        half_life_s: after this time evidence counts half.
        look_weight: worth of one clear look; below 1, as looks of one camera resemble each other.
        look_s: looks closer together than this share one look's weight.
        clear_px: faces of this size or more count fully; smaller ones in proportion.
        sharp: variance of the Laplacian of the face at 32 px from which it counts fully.

    Raises:
        OptionError: a value is out of range.
    """

    decide_odds: float = 20.0
    doubt_odds: float = 2.0
    most_odds: float = 3000.0
    look_weight: float = 0.5
    half_life_s: float = 2.0
    look_s: float = 0.12
    clear_px: float = 32.0
    sharp: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= self.doubt_odds <= self.decide_odds <= self.most_odds:
            raise OptionError("doubt_odds, decide_odds and most_odds must rise, from at least 1")
        if min(self.half_life_s, self.look_weight, self.look_s, self.clear_px, self.sharp) <= 0:
            raise OptionError("half_life_s, look_weight, look_s, clear_px and sharp must be above 0")


@dataclass
class _Case:
    """What is known of one person: log-evidence of each label, the verdict, when last seen."""

    evidence: FloatArray
    verdict: int
    seen_s: float


class PersonVerdicts:
    """Turns the labels of tracked faces into verdicts on persons; one a source."""

    def __init__(self, options: VerdictOptions | None = None) -> None:
        self.options = options or VerdictOptions()
        self._cases: dict[int, _Case] = {}

    def update(self, tracked: Detections, pts_s: float, image: Image | None = None) -> Detections:
        """The same faces with the verdict on their track; `image` lets sharpness count.

        Faces without a track keep the verdict they have.
        """
        weights = self._weights(tracked, image)
        support = _log_shares(tracked.label_scores)
        verdict = tracked.verdict.copy()
        for row in np.flatnonzero(tracked.track_id >= 0):
            case = self._cases.get(int(tracked.track_id[row]))
            if case is None:
                case = _Case(np.zeros(len(LABELS)), UNCERTAIN, pts_s - self.options.look_s)
                self._cases[int(tracked.track_id[row])] = case
            self._look(case, support[row], float(weights[row]), pts_s)
            verdict[row] = case.verdict
        return replace(tracked, verdict=verdict)

    def recall(self, tracked: Detections) -> Detections:
        """The same faces with the verdicts as they stand, for frames that nobody looked at."""
        verdict = tracked.verdict.copy()
        for row in range(len(tracked)):
            case = self._cases.get(int(tracked.track_id[row]))
            verdict[row] = UNCERTAIN if case is None else case.verdict
        return replace(tracked, verdict=verdict)

    def forget(self, live_ids: frozenset[int]) -> None:
        """Drop all persons but `live_ids`."""
        self._cases = {key: case for key, case in self._cases.items() if key in live_ids}

    def _look(self, case: _Case, support: FloatArray, weight: float, pts_s: float) -> None:
        """Add one look to a case and decide anew."""
        options = self.options
        elapsed_s = max(pts_s - case.seen_s, 0.0)
        fresh = min(1.0, elapsed_s / options.look_s)
        case.evidence *= 0.5 ** (elapsed_s / options.half_life_s)
        case.evidence += options.look_weight * weight * fresh * support
        case.evidence -= case.evidence.max()
        case.seen_s = pts_s
        case.evidence = np.maximum(case.evidence, -np.log(options.most_odds))
        first, second = np.argsort(-case.evidence)[:2]
        lead = float(case.evidence[first] - case.evidence[second])
        if lead >= np.log(options.decide_odds):
            case.verdict = int(first)
        elif case.verdict != UNCERTAIN and -case.evidence[case.verdict] >= np.log(options.doubt_odds):
            case.verdict = UNCERTAIN

    def _weights(self, tracked: Detections, image: Image | None) -> FloatArray:
        """(n,) 0..1: how much a look at each face is worth."""
        by_size = np.clip((tracked.size - 4) / (self.options.clear_px - 4), 0.1, 1.0)
        if image is None:
            return by_size.astype(np.float64)
        by_sharpness = np.array([sharpness(image, xyxy) for xyxy in tracked.xyxy]) / self.options.sharp
        return np.asarray(by_size * np.clip(by_sharpness, 0.15, 1.0), dtype=np.float64)


def sharpness(image: Image, xyxy: npt.NDArray[np.float32]) -> float:
    """Variance of the Laplacian of one face at 32 px (Pech-Pacheco et al. 2000); 0 outside the picture."""
    x1, y1, x2, y2 = (int(value) for value in xyxy)
    crop = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if crop.size == 0:
        return 0.0
    grey = cv2.cvtColor(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _log_shares(label_scores: npt.NDArray[np.float32]) -> FloatArray:
    """(n, 3) log-odds of each label in one look.

    A score is the root of a product of probabilities, so its square is what is compared; shares are
    kept off 0 so that no single look is decisive.
    """
    squared = np.square(label_scores.astype(np.float64))
    share = squared / np.maximum(squared.sum(axis=1, keepdims=True), 1e-9)
    return np.log(np.clip(share, 0.02, 1.0))

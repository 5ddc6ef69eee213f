"""What keeps a model's figures from 1: each kind of error repaired alone, and what that would bring.

After TIDE (Bolya et al. 2020, "A general toolbox for identifying object detection errors"). A detection
that overlaps a true face by an IoU of 0.5 or more is found; from 0.1 on its box is wrong, below it is a
false alarm. Repairs show where the rest is lost, not what can be reached: among the false alarms are
faces that nobody labelled.

The data's own errors are repaired as well: review.json holds, in the form of configs/corrections.json,
labels that are plainly wrong, and plain faces that nobody labelled, which then count neither way. What was
looked at, without names and scores: all faces that a model (ours, AIZOO) calls other than the data does, half
as many that none does, and all that a model (these, YuNet, Ultra-Light) finds where there is no label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.photos import tight_photos
from maskwatch import boxes
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.detector import DetectOptions, Detector, packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, evaluate, match
from maskwatch.training.corrections import Corrections, corrected, read_corrections

REVIEW = Path(__file__).parent / "review.json"
FOUND_IOU, NEAR_IOU = 0.5, 0.1


@dataclass(frozen=True)
class Matched:
    """One picture's truth and detections, best first, and what each detection is about.

    Attributes:
        face: (n,) the true face that a detection finds, −1 for none.
        near: (n,) the true face that nothing finds and that it comes nearest to, −1 for none.
        missed: (g,) true faces that no detection finds or is near to.
    """

    truth: LabelledImage
    found: Detections
    face: npt.NDArray[np.intp]
    near: npt.NDArray[np.intp]
    missed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, truth: LabelledImage, found: Detections) -> Matched:
        """Match as `evaluate` does, whatever the label."""
        found = found[np.argsort(-found.score, kind="stable")]
        overlap = boxes.iou(found.xyxy, truth.faces.xyxy).astype(np.float64)
        face = match(overlap, truth.ignore, FOUND_IOU)
        left = overlap.copy()
        left[face >= 0] = 0
        left[:, face[face >= 0]] = 0
        near = match(left, truth.ignore, NEAR_IOU)
        missed = np.ones(len(truth.faces), dtype=bool)
        missed[face[face >= 0]] = missed[near[near >= 0]] = False
        return cls(truth, found, face, near, missed)

    def as_it_is(self) -> tuple[LabelledImage, Detections]:
        """Nothing repaired."""
        return self.truth, self.found

    def labels_right(self) -> tuple[LabelledImage, Detections]:
        """Each face that is found has its true label."""
        label = self.found.label.copy()
        label[self.face >= 0] = self.truth.faces.label[self.face[self.face >= 0]]
        return self.truth, Detections(self.found.xyxy, self.found.score, label)

    def boxes_right(self) -> tuple[LabelledImage, Detections]:
        """A detection near a true face that nothing finds has that face's box."""
        xyxy = self.found.xyxy.copy()
        xyxy[self.near >= 0] = self.truth.faces.xyxy[self.near[self.near >= 0]]
        return self.truth, replace(self.found, xyxy=xyxy)

    def no_false_alarms(self) -> tuple[LabelledImage, Detections]:
        """Only detections that find a true face, or are near one that nothing finds, are left."""
        return self.truth, self.found[(self.face >= 0) | (self.near >= 0)]

    def nothing_missed(self) -> tuple[LabelledImage, Detections]:
        """True faces without any detection near them do not count."""
        return replace(self.truth, ignore=self.truth.ignore | self.missed), self.found

    def data_mended(self) -> tuple[LabelledImage, Detections]:
        """What `REVIEW` says of the picture's labels holds."""
        return corrected(self.truth, _review().get(self.truth.path.name, ()))[0], self.found


@cache
def _review() -> Corrections:
    return read_corrections(REVIEW)


REPAIRS: dict[str, Callable[[Matched], tuple[LabelledImage, Detections]]] = {
    "as it is": Matched.as_it_is,
    "labels right": Matched.labels_right,
    "boxes right": Matched.boxes_right,
    "no false alarms": Matched.no_false_alarms,
    "nothing missed": Matched.nothing_missed,
    "the data mended": Matched.data_mended,
}


def run(shared: Path) -> dict[str, Any]:
    """Print tight mAP50 and face AP of our models after each repair; gives both."""
    images = tight_photos(shared)
    figures: dict[str, Any] = {}
    print(f"| tight mAP50 / face AP | {' | '.join(REPAIRS)} |\n|---|{'---|' * len(REPAIRS)}")
    for model in packaged_models():
        detector = Detector(model, DetectOptions(score_threshold=WHOLE_CURVE_SCORE, threads=1))
        matched = [Matched.of(image, detector.detect(image.path)) for image in images]
        figures[model] = {}
        for name, repair in REPAIRS.items():
            truths, found = zip(*map(repair, matched), strict=True)
            report = evaluate(truths, found)
            figures[model][name] = {"tight": report.map_two, "face_ap": report.face_ap}
        cells = [f"{one['tight']:.3f} / {one['face_ap']:.3f}" for one in figures[model].values()]
        print(f"| {model} | {' | '.join(cells)} |")
    return figures

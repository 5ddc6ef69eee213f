"""How good a detector is: average precision, recall at a fixed rate of false alarms, calibration.

Average precision follows the COCO evaluation (Lin et al. 2014) to the letter, and agrees with
pycocotools: 101 recall points, at most 100 faces a picture, greedy matching by falling score. An
ignored true face is what COCO calls a crowd: any number of detections may lie in it, and none of
them counts. One matcher serves all figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.errors import DatasetError
from maskwatch.labels import LABELS, WITH_MASK, WITHOUT_MASK

FloatArray = npt.NDArray[np.float64]
COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
RECALL_POINTS = np.linspace(0, 1, 101)
MOST_DETECTIONS = 100
SIZE_BUCKETS_PX = ((8, 16), (16, 32), (32, 96), (96, None), (16, None))
"""From, and below which size; None has no end. The last is of all faces that are not tiny."""
FALSE_POSITIVES_PER_IMAGE = 0.1
CALIBRATION_BINS = 15
WHOLE_CURVE_SCORE = 0.001
"""Faces down to this score make a whole precision-recall curve: calibrated scores fall off fast."""


@dataclass(frozen=True)
class Curve:
    """Precision over recall: detections by falling score.

    Attributes:
        recall, precision, score: (d,) each, one entry a counted detection.
        truths: number of true faces.
    """

    recall: FloatArray
    precision: FloatArray
    score: FloatArray
    truths: int

    @property
    def average_precision(self) -> float:
        """Mean of the interpolated precision at 101 recalls; NaN without true faces."""
        if not self.truths:
            return float("nan")
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        places = np.searchsorted(self.recall, RECALL_POINTS, side="left")
        padded = np.append(envelope, 0.0)
        return float(padded[np.minimum(places, len(envelope))].mean())


@dataclass(frozen=True)
class Report:
    """All figures of one evaluation; NaN where the data has no such face.

    Attributes:
        images, faces: how many pictures, and true faces that count.
        iou: overlap from which a detection counts as found.
        ap: average precision at `iou` for each label.
        ap_coco: the same averaged over IoU 0.50, 0.55 … 0.95.
        face_ap: average precision at `iou` whatever the label.
        map_two: mean of with_mask and without_mask at `iou`, faces of the third label left out.
        recall: share of each label's faces found at 0.1 false alarms a picture, whatever label
            they were given, by size: "all" and "8-16", "16-32", "32-96", "96+", "16+" px.
        recall_threshold: the score that gives 0.1 false alarms a picture.
        confusion: of the faces found above `score_threshold`, true label (row) by given label.
        label_accuracy: share of them with the right label.
        precision_found, recall_found: of all faces above `score_threshold`.
        score_threshold: see above.
        calibration_error: expected calibration error of the scores, 15 bins, all detections.
        curves: precision over recall for each label and for "face", not part of `to_dict`.
    """

    images: int
    faces: dict[str, int]
    iou: float
    ap: dict[str, float]
    ap_coco: dict[str, float]
    face_ap: float
    map_two: float
    recall: dict[str, dict[str, float]]
    recall_threshold: float
    confusion: list[list[int]]
    label_accuracy: float
    precision_found: float
    recall_found: float
    score_threshold: float
    calibration_error: float
    curves: dict[str, Curve] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["curves"]
        return values


def evaluate(
    truths: Sequence[LabelledImage],
    found: Sequence[Detections],
    *,
    iou: float = 0.5,
    score_threshold: float = 0.4,
) -> Report:
    """Compare `found` with `truths`, picture by picture.

    For whole precision-recall curves, `found` should hold faces down to `WHOLE_CURVE_SCORE`.

    Raises:
        DatasetError: the two are not of the same length, or there is no picture.
    """
    if len(truths) != len(found) or not truths:
        raise DatasetError(f"{len(truths)} labelled pictures, {len(found)} results; need the same, above 0")
    everything = range(len(LABELS))
    by_label = {
        name: [_Case.of(truth, one, (index,)) for truth, one in zip(truths, found, strict=True)]
        for index, name in enumerate(LABELS)
    }
    by_face = [_Case.of(truth, one, everything) for truth, one in zip(truths, found, strict=True)]
    curves = {name: _curve(cases, iou) for name, cases in by_label.items()}
    curves["face"] = _curve(by_face, iou)
    two = [
        _curve([_Case.of(t, f, (label,), beside=2) for t, f in zip(truths, found, strict=True)], iou)
        for label in (WITH_MASK, WITHOUT_MASK)
    ]
    recall, recall_threshold = _recall_by_size(truths, by_face, curves["face"], iou, len(truths))
    confusion, counts = _confusion(truths, found, by_face, iou, score_threshold)
    return Report(
        images=len(truths),
        faces={name: curves[name].truths for name in LABELS},
        iou=iou,
        ap={name: curves[name].average_precision for name in LABELS},
        ap_coco={
            name: float(np.mean([_curve(cases, each).average_precision for each in COCO_IOUS]))
            for name, cases in by_label.items()
        },
        face_ap=curves["face"].average_precision,
        map_two=_mean([curve.average_precision for curve in two]),
        recall=recall,
        recall_threshold=recall_threshold,
        confusion=confusion.tolist(),
        label_accuracy=_share(int(np.trace(confusion)), int(confusion.sum())),
        precision_found=_share(counts.matched, counts.given),
        recall_found=_share(counts.matched, counts.true),
        score_threshold=score_threshold,
        calibration_error=_calibration_error(by_label.values(), iou),
        curves=curves,
    )


@dataclass(frozen=True)
class Outcomes:
    """What became of each detection that does not lie on an ignored face.

    Attributes:
        label: (d,) the label given.
        label_scores: (d, 3).
        true_label: (d,) the label of the true face it takes, whatever label was given; −1 for none.
        rows: for each picture the rows of its detections, in the order in which they stand here.
        truths: number of true faces.
    """

    label: npt.NDArray[np.int8]
    label_scores: npt.NDArray[np.float32]
    true_label: npt.NDArray[np.int8]
    rows: Sequence[npt.NDArray[np.intp]]
    truths: int


def outcomes(truths: Sequence[LabelledImage], found: Sequence[Detections], *, iou: float = 0.5) -> Outcomes:
    """Match every detection with a true face whatever its label, as `Report.face_ap` does."""
    labels, scores, true_labels, rows, count = [], [], [], [], 0
    for truth, one in zip(truths, found, strict=True):
        case = _Case.of(truth, one, range(len(LABELS)))
        taken = case.match(iou)
        matched = taken >= 0
        true_label = np.full(len(taken), -1, dtype=np.int8)
        true_label[matched] = truth.faces.label[case.truth_rows[taken[matched]]]
        counted = ~matched
        counted[matched] = ~case.ignored[taken[matched]]
        labels.append(one.label[case.rows][counted])
        scores.append(one.label_scores[case.rows][counted])
        true_labels.append(true_label[counted])
        rows.append(case.rows[counted])
        count += int((~truth.ignore).sum())
    return Outcomes(np.concatenate(labels), np.concatenate(scores), np.concatenate(true_labels), rows, count)


def average_precision(
    truths: Sequence[LabelledImage], found: Sequence[Detections], label: int, iou: float
) -> float:
    """COCO's average precision of one label at one IoU."""
    cases = [_Case.of(truth, one, (label,)) for truth, one in zip(truths, found, strict=True)]
    return _curve(cases, iou).average_precision


@dataclass(frozen=True)
class _Case:
    """One picture's matching problem: detections best first, counted true faces before ignored ones."""

    score: FloatArray
    overlap: FloatArray
    ignored: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.intp]
    truth_rows: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls, truth: LabelledImage, found: Detections, labels: Sequence[int], beside: int | None = None
    ) -> _Case:
        """Detections and true faces of `labels`; true faces of the label `beside` are ignored."""
        order = np.argsort(-found.score, kind="stable")
        rows = order[np.isin(found.label[order], labels)][:MOST_DETECTIONS]
        counted = np.flatnonzero(np.isin(truth.faces.label, labels) & ~truth.ignore)
        left_out = truth.ignore if beside is None else truth.ignore | (truth.faces.label == beside)
        truth_rows = np.concatenate([counted, np.flatnonzero(left_out)])
        ignored = np.arange(len(truth_rows)) >= len(counted)
        overlap = _overlap(found.xyxy[rows], truth.faces.xyxy[truth_rows], ignored)
        return cls(found.score[rows].astype(np.float64), overlap, ignored, rows, truth_rows)

    def match(self, iou: float) -> npt.NDArray[np.intp]:
        """(d,) which true face each detection takes, −1 for none."""
        return match(self.overlap, self.ignored, iou)


def match(overlap: FloatArray, ignored: npt.NDArray[np.bool_], iou: float) -> npt.NDArray[np.intp]:
    """Which true face each detection takes, (d,), −1 for none, as COCO does: the best chooses first.

    `overlap` (d, g) is of detections, best first, with true faces, which are taken from `iou` on; an
    `ignored` one (g,) is taken only where no other fits, and may serve many.
    """
    taken = np.full(len(overlap), -1, dtype=np.intp)
    free = np.ones(len(ignored), dtype=bool)
    least = min(iou, 1 - 1e-10)
    for row in range(len(overlap)):
        fits = (overlap[row] >= least) & free
        if not fits.any():
            continue
        counted = fits & ~ignored
        choice = counted if counted.any() else fits
        candidates = np.flatnonzero(choice)
        own = overlap[row, candidates]
        best = candidates[len(own) - 1 - own[::-1].argmax()]  # COCO takes the last of equals
        taken[row] = best
        free[best] = bool(ignored[best])
    return taken


def _overlap(
    found: npt.NDArray[np.float32], true: npt.NDArray[np.float32], ignored: npt.NDArray[np.bool_]
) -> FloatArray:
    """IoU (d, g) in double precision; with an ignored face, the share of the detection inside it."""
    first, second = found.astype(np.float64), true.astype(np.float64)
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    area = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (first, second)]
    union = np.where(ignored[None], area[0][:, None], area[0][:, None] + area[1][None] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _curve(cases: Sequence[_Case], iou: float) -> Curve:
    """Pool all pictures' detections and walk down the scores."""
    scores, hits = [], []
    truths = 0
    for case in cases:
        taken = case.match(iou)
        on_ignored = (taken >= 0) & case.ignored[taken] if len(case.ignored) else taken >= 0
        scores.append(case.score[~on_ignored])
        hits.append(taken[~on_ignored] >= 0)
        truths += int((~case.ignored).sum())
    score, hit = np.concatenate(scores), np.concatenate(hits)
    order = np.argsort(-score, kind="mergesort")
    score, hit = score[order], hit[order]
    found = np.cumsum(hit)
    recall = found / max(truths, 1)
    precision = found / np.arange(1, len(hit) + 1)
    return Curve(recall.astype(np.float64), precision.astype(np.float64), score, truths)


def _recall_by_size(
    truths: Sequence[LabelledImage], cases: Sequence[_Case], curve: Curve, iou: float, images: int
) -> tuple[dict[str, dict[str, float]], float]:
    """Recall of each label's faces above the score that allows 0.1 false alarms a picture."""
    wrong = np.arange(1, len(curve.score) + 1) - curve.recall * max(curve.truths, 1)
    allowed = np.flatnonzero(wrong.round() <= FALSE_POSITIVES_PER_IMAGE * images)
    threshold = float(curve.score[allowed[-1]]) if len(allowed) else 1.0
    label, size, hit = [], [], []
    for truth, case in zip(truths, cases, strict=True):
        taken = case.match(iou)
        reached = case.truth_rows[taken[(taken >= 0) & (case.score >= threshold)]]
        counted = ~truth.ignore
        label.append(truth.faces.label[counted])
        size.append(truth.faces.size[counted])
        hit.append(np.isin(np.arange(len(truth.faces)), reached)[counted])
    labels, sizes, hits = np.concatenate(label), np.concatenate(size), np.concatenate(hit)
    result: dict[str, dict[str, float]] = {}
    for index, name in enumerate(LABELS):
        own = labels == index
        result[name] = {"all": _share(int(hits[own].sum()), int(own.sum()))}
        for low, high in SIZE_BUCKETS_PX:
            within = own & (sizes >= low) & (sizes < (high or np.inf))
            key = f"{low}-{high}" if high else f"{low}+"
            result[name][key] = _share(int(hits[within].sum()), int(within.sum()))
    return result, threshold


@dataclass(frozen=True)
class _Counts:
    matched: int
    given: int
    true: int


def _confusion(
    truths: Sequence[LabelledImage],
    found: Sequence[Detections],
    cases: Sequence[_Case],
    iou: float,
    score_threshold: float,
) -> tuple[npt.NDArray[np.int64], _Counts]:
    """True label by given label of the faces found, and how many were found, given and true."""
    table = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    given = 0
    for truth, one, case in zip(truths, found, cases, strict=True):
        taken = case.match(iou)
        above = case.score >= score_threshold
        on_ignored = (taken >= 0) & case.ignored[taken] if len(case.ignored) else np.zeros_like(above)
        given += int((above & ~on_ignored).sum())
        rows = np.flatnonzero(above & (taken >= 0) & ~on_ignored)
        true_label = truth.faces.label[case.truth_rows[taken[rows]]]
        np.add.at(table, (true_label, one.label[case.rows[rows]]), 1)
    true = sum(int((~truth.ignore).sum()) for truth in truths)
    return table, _Counts(int(table.sum()), given, true)


def _calibration_error(labels: Collection[Sequence[_Case]], iou: float) -> float:
    """Expected calibration error (Guo et al. 2017): mean gap of score and hit rate, by share."""
    curves = [_curve(cases, iou) for cases in labels]
    score = np.concatenate([curve.score for curve in curves])
    hit = np.concatenate([np.diff(curve.recall * max(curve.truths, 1), prepend=0.0) for curve in curves])
    if not len(score):
        return float("nan")
    bins = np.minimum((score * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(float((score - hit)[bins == number].sum())) for number in range(CALIBRATION_BINS)]
    return sum(gaps) / len(score)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")

"""Our figures against pycocotools on random cases, and by hand on small ones."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskwatch import DatasetError, Detections
from maskwatch.boxes import to_xywh
from maskwatch.datasets import LabelledImage
from maskwatch.evaluate import evaluate


def random_case(seed: int, images: int = 12) -> tuple[list[LabelledImage], list[Detections]]:
    """Crowded pictures with near, far and doubled detections, and tied scores."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for number in range(images):
        count = int(rng.integers(0, 12))
        corner = rng.uniform(0, 400, (count, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(6, 120, (count, 2))], axis=1)
        label = rng.integers(0, 3, count)
        truths.append(
            LabelledImage(
                path=Path(f"{number}.jpg"),
                size_wh=(600, 600),
                faces=Detections(xyxy=xyxy, score=np.ones(count), label=label),
                ignore=rng.random(count) < 0.2,
            )
        )
        near = xyxy[rng.random(count) < 0.8]
        near = np.concatenate([near, near[: len(near) // 3]]) + rng.normal(
            0, 4, (len(near) + len(near) // 3, 4)
        )
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        stray = rng.uniform(0, 500, (3, 2))
        boxes = np.concatenate([near, np.concatenate([stray, stray + 30], axis=1)])
        found.append(
            Detections(
                xyxy=boxes,
                score=rng.integers(1, 40, len(boxes)) / 40,
                label=rng.integers(0, 3, len(boxes)),
            )
        )
    return truths, found


def coco_figures(truths, found, iou):
    """Average precision by category at `iou` and averaged, from pycocotools."""
    annotations = []
    for image_id, truth in enumerate(truths, 1):
        for row, xywh in enumerate(to_xywh(truth.faces.xyxy).astype(float).tolist()):
            own = int(truth.faces.label[row]) + 1
            for category in (1, 2, 3) if truth.ignore[row] else (own,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": xywh,
                        "area": xywh[2] * xywh[3],
                        "iscrowd": int(truth.ignore[row]),
                    }
                )
    results = [
        {"image_id": i, "category_id": int(label) + 1, "bbox": xywh, "score": float(score)}
        for i, one in enumerate(found, 1)
        for xywh, label, score in zip(
            to_xywh(one.xyxy).astype(float).tolist(), one.label, one.score, strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(truths) + 1)],
            "categories": [{"id": 1}, {"id": 2}, {"id": 3}],
            "annotations": annotations,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.params.iouThrs = np.array([iou, *np.linspace(0.5, 0.95, 10).round(2)])
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 2]  # IoU × recall × category, all areas, 100 faces
    return precision[0].mean(axis=0), precision[1:].mean(axis=(0, 1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("iou", [0.5, 0.3])
def test_average_precision_agrees_with_pycocotools(seed, iou):
    truths, found = random_case(seed)
    report = evaluate(truths, found, iou=iou)
    at_iou, averaged = coco_figures(truths, found, iou)
    np.testing.assert_allclose(list(report.ap.values()), at_iou, atol=1e-6)
    np.testing.assert_allclose(list(report.ap_coco.values()), averaged, atol=1e-6)


def one_image(xyxy, label, ignore=None, score=None):
    faces = Detections(
        xyxy=np.array(xyxy, float).reshape(-1, 4),
        score=np.array(score or [1.0] * len(label)),
        label=np.array(label),
    )
    return LabelledImage(Path("a.jpg"), (100, 100), faces, np.array(ignore or [False] * len(label), bool))


LEFT, RIGHT = (0, 0, 20, 20), (50, 50, 90, 90)


def test_perfect_detections_score_1():
    truth = one_image([LEFT, RIGHT], [0, 1])
    report = evaluate([truth], [truth.faces])
    assert report.ap["with_mask"] == report.ap["without_mask"] == report.face_ap == 1
    assert np.isnan(report.ap["mask_worn_incorrectly"])
    assert report.map_two == report.label_accuracy == 1
    assert report.calibration_error == 0
    assert report.recall["without_mask"] == {
        "all": 1,
        "8-16": pytest.approx(np.nan, nan_ok=True),
        "16-32": pytest.approx(np.nan, nan_ok=True),
        "32-96": 1,
        "96+": pytest.approx(np.nan, nan_ok=True),
        "16+": 1,
    }


def test_a_wrong_label_counts_against_the_label_but_not_the_face():
    truth = one_image([LEFT, RIGHT], [0, 1])
    found = one_image([LEFT, RIGHT], [0, 0], score=[0.9, 0.8]).faces
    report = evaluate([truth], [found])
    assert report.face_ap == 1
    assert report.ap["without_mask"] == 0
    assert report.confusion == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert report.label_accuracy == 0.5


def test_ignored_faces_neither_reward_nor_punish():
    truth = one_image([LEFT, RIGHT], [0, 1], ignore=[False, True])
    for found in (truth.faces, truth.faces[:1]):
        report = evaluate([truth], [found])
        assert report.ap["with_mask"] == report.face_ap == report.precision_found == 1
        assert report.faces["without_mask"] == 0


def test_faces_worn_wrong_stay_out_of_the_two_label_figure():
    truth = one_image([LEFT, RIGHT], [0, 2])
    found = one_image([LEFT, RIGHT], [0, 0], score=[0.8, 0.9]).faces
    report = evaluate([truth], [found])
    assert report.map_two == 1
    assert report.ap["with_mask"] == pytest.approx(0.5)


def test_recall_is_taken_where_false_alarms_allow_it():
    truths = [one_image([LEFT], [0]) for _ in range(20)]
    sure, weak = one_image([LEFT], [0], score=[0.9]).faces, one_image([LEFT], [0], score=[0.3]).faces
    stray = one_image([RIGHT], [0], score=[0.6]).faces
    found = [sure] * 10 + [Detections.concatenate([weak, stray])] * 3 + [weak] * 7
    report = evaluate(truths, found)
    assert report.recall["with_mask"]["all"] == 0.5  # the third stray box breaks 0.1 · 20 = 2
    assert report.recall_threshold >= 0.6


def test_overconfidence_is_a_calibration_error():
    truth = one_image([LEFT], [0])
    found = one_image([LEFT, RIGHT], [0, 0], score=[1.0, 1.0]).faces
    assert evaluate([truth], [found]).calibration_error == pytest.approx(0.5)


def test_lengths_must_agree():
    with pytest.raises(DatasetError, match="need the same"):
        evaluate([one_image([LEFT], [0])], [])

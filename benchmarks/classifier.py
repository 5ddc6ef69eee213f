"""A classifier of face crops on real photos, next to the one-stage detector, crops and end to end.

python -m benchmarks.classifier mask_detector.onnx [../shared/data/val] [../shared/peers]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskwatch import Detections, DetectOptions, Detector, boxes
from maskwatch.classifier import Classifier, FindsFaces, TwoStage, crop
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage, read_coco
from maskwatch.evaluate import Report, evaluate
from maskwatch.opencv_faces import OpenCvFaces

TIGHT = ("aizoo", "kaggle853")
LEAST_PX = (8, 32)


def true_crops(images: Sequence[LabelledImage], judge: Classifier, detector: Detector) -> list[str]:
    """Rows of Markdown: right labels on labelled faces with or without mask."""
    true, size, by_crop, by_detector = [], [], [], []
    for image in images:
        picture = read_picture(image.path).image
        rows = np.flatnonzero(~image.ignore & (image.faces.label < 2))
        if not len(rows):
            continue
        faces = image.faces[rows]
        crops = [crop(picture, box, judge.card.margin) for box in faces.xyxy]
        by_crop += judge.label_scores(crops).argmax(axis=1).tolist()
        by_detector += matched(detector.detect(picture), faces).tolist()
        true += faces.label.tolist()
        size += faces.size.tolist()
    lines = ["| true boxes, real photos | faces | classifier right | one stage right | one stage found |"]
    lines.append("|---|---|---|---|---|")
    for least in LEAST_PX:
        for label, words in ((None, "both labels"), (0, "with_mask"), (1, "without_mask")):
            keep = np.array(size) >= least
            keep &= np.array(true) == label if label is not None else True
            wanted, given = np.array(true)[keep], np.array(by_detector)[keep]
            right, one = (np.array(by_crop)[keep] == wanted).mean(), (given == wanted).mean()
            shares = " | ".join(f"{share:.3f}" for share in (right, one, (given >= 0).mean()))
            lines.append(f"| {words}, ≥ {least} px | {keep.sum()} | {shares} |")
    return lines


def matched(found: Detections, faces: Detections) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) label of the best box that overlaps each true face by half, or −1 where it was missed."""
    overlap = boxes.iou(faces.xyxy, found.xyxy)
    if not len(found):
        return np.full(len(faces), -1)
    best = overlap.argmax(axis=1)
    return np.where(overlap.max(axis=1) >= 0.5, found.label[best].astype(np.int64), -1)


def end_to_end(images: Sequence[LabelledImage], stages: dict[str, FindsFaces]) -> list[str]:
    """Rows of Markdown: average precision from photo to label."""
    lines = ["| photo to label | mAP50 | with_mask | without_mask | face AP |", "|---|---|---|---|---|"]
    for name, stage in stages.items():
        report: Report = evaluate(images, [stage.detect(read_picture(image.path).image) for image in images])
        ap = report.ap
        lines.append(
            f"| {name} | {report.map_two:.3f} | {ap['with_mask']:.3f} | {ap['without_mask']:.3f} | "
            f"{report.face_ap:.3f} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main(classifier: str, data: str = "../shared/data/val", peers: str = "../shared/peers") -> None:
    """Print both tables."""
    images = [image for image in read_coco(Path(data)) if image.set_name in TIGHT]
    judge = Classifier(classifier, threads=1)
    detector = Detector(options=DetectOptions(threads=1))
    low = Detector(options=DetectOptions(score_threshold=0.02, threads=1))
    print("\n".join(true_crops(images, judge, detector)), flush=True)
    stages: dict[str, FindsFaces] = {"one stage": low, "our faces + classifier": TwoStage(low, judge)}
    ssd = Path(peers) / "opencv_face_detector_uint8.pb"
    if ssd.is_file():
        stages["tutorial: SSD + classifier"] = TwoStage(OpenCvFaces(ssd, 0.02), judge)
    print("\n" + "\n".join(end_to_end(images, stages)))


if __name__ == "__main__":
    main(*sys.argv[1:])

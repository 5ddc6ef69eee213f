"""Where it fails: faces of the open validation photos by what is special about them.

`slices.json` was written by hand after looking at every face of at least 32 px; it holds file
names and boxes (xyxy px) under each word. A face may stand under several words. Nothing was
trained or chosen by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import Aizoo, Ours, Peer
from benchmarks.photos import LOOSE_IOU, LOOSE_SETS
from maskwatch import boxes
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage, read_coco
from maskwatch.detector import packaged_models

TAGS = Path(__file__).with_name("slices.json")
LEAST_PX = 32.0
EVERYTHING = "all of at least 32 px"


@dataclass(frozen=True)
class Slice:
    """How one model does on the faces under one word."""

    faces: int
    found: float
    right: float

    @classmethod
    def of(cls, outcomes: list[tuple[bool, bool]]) -> Slice:
        """`outcomes`: found, and found with the right label."""
        found = sum(found for found, _ in outcomes)
        return cls(
            faces=len(outcomes),
            found=found / len(outcomes),
            right=sum(right for _, right in outcomes) / max(found, 1),
        )


def run(shared: Path) -> dict[str, Any]:
    """Share of faces found, and of those with the right label, for each word and model."""
    images = read_coco(shared / "data" / "val")
    tags: dict[str, dict[str, list[list[float]]]] = json.loads(TAGS.read_text(encoding="utf-8"))
    models: list[Peer] = [Ours(name, score_threshold=_threshold(name)) for name in packaged_models()]
    models.append(Aizoo(shared / "peers", score_threshold=0.5))
    figures: dict[str, Any] = {}
    for model in models:
        outcomes: dict[str, list[tuple[bool, bool]]] = {}
        for image in images:
            for words, outcome in _judged(model, image, tags):
                outcomes.setdefault(words, []).append(outcome)
        figures[model.name] = {words: Slice.of(rows).__dict__ for words, rows in sorted(outcomes.items())}
    _print(figures)
    return figures


def _threshold(name: str) -> float:
    from maskwatch import Detector

    return Detector(name).card.score_threshold


def _judged(
    model: Peer, image: LabelledImage, tags: dict[str, dict[str, list[list[float]]]]
) -> Iterator[tuple[str, tuple[bool, bool]]]:
    """Word and outcome of each labelled face, once for each word it stands under."""
    least_iou = LOOSE_IOU if image.set_name in LOOSE_SETS else 0.5
    found = model.detect(read_picture(image.path).image)
    overlap = boxes.iou(image.faces.xyxy, found.xyxy)
    for row in np.flatnonzero(~image.ignore & (image.faces.size >= LEAST_PX)):
        best = int(overlap[row].argmax()) if len(found) else -1
        hit = best >= 0 and bool(overlap[row, best] >= least_iou)
        outcome = (hit, hit and bool(found.label[best] == image.faces.label[row]))
        yield EVERYTHING, outcome
        if image.set_name in LOOSE_SETS:
            yield f"set {image.set_name}", outcome
        for words, files in tags.items():
            marked = files.get(image.path.name, [])
            if any(np.abs(np.array(box) - image.faces.xyxy[row]).max() < 1.0 for box in marked):
                yield words, outcome


def _print(figures: dict[str, Any]) -> None:
    names = list(figures)
    print("| faces | n | " + " | ".join(f"{name}: found, right" for name in names) + " |")
    print("|---|---|" + "---|" * len(names))
    for words in figures[names[0]]:
        cells = [
            f"{figures[name][words]['found']:.1%}, {figures[name][words]['right']:.1%}" for name in names
        ]
        print(f"| {words} | {figures[names[0]][words]['faces']} | {' | '.join(cells)} |")

"""Accuracy of ours and of every peer on the same photos with the same matcher, as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import fetched
from benchmarks.peers import (
    Aizoo,
    BlazeFace,
    Ours,
    Peer,
    TutorialPipeline,
    TutorialSsd,
    UltraLight,
    YuNet,
)
from benchmarks.photos import LOOSE_IOU, LOOSE_SETS, TIGHT_SETS
from benchmarks.plots import thinned
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage, read_coco
from maskwatch.detections import Detections
from maskwatch.detector import DEFAULT_MODEL, packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, Report, evaluate


def all_peers(
    shared: Path, *, threads: int = 1, score_threshold: float = WHOLE_CURVE_SCORE
) -> Iterator[Peer]:
    """Ours first, then the others."""
    folder = shared / "peers"
    for name in sorted(packaged_models(), key=lambda name: name != DEFAULT_MODEL):
        yield Ours(name, score_threshold=score_threshold, threads=threads)
    for kind in (Aizoo, UltraLight, YuNet, TutorialSsd):
        yield kind(folder, threads=threads, score_threshold=score_threshold)
    classifier = fetched.tutorial_classifier(shared)
    yield TutorialPipeline(folder, classifier, threads=threads, score_threshold=score_threshold)
    model = fetched.blazeface()
    if model is not None:
        yield BlazeFace(model, threads=threads, score_threshold=score_threshold)


def run(shared: Path) -> dict[str, Any]:
    """Measure all on `shared`/data/val; prints tables, gives all figures."""
    labelled = read_coco(shared / "data" / "val")
    pictures = [read_picture(image.path).image for image in labelled]
    figures: dict[str, Any] = {}
    rows = []
    for peer in all_peers(shared):
        found = [peer.detect(picture) for picture in pictures]
        tight = _of_sets(labelled, found, TIGHT_SETS, 0.5)
        loose = {name: _of_sets(labelled, found, (name,), LOOSE_IOU) for name in LOOSE_SETS}
        figures[peer.name] = {
            "ours": isinstance(peer, Ours),
            "judges_masks": peer.judges_masks,
            "tight": tight.to_dict(),
            "curves": {name: thinned(curve.recall, curve.precision) for name, curve in tight.curves.items()},
            **{name: one.to_dict() for name, one in loose.items()},
            **{f"tight {name}": _of_sets(labelled, found, (name,), 0.5).to_dict() for name in TIGHT_SETS},
        }
        rows.append(_row(peer, tight, loose))
    print(_HEAD)
    print("\n".join(rows))
    print("\nMasked faces found at 0.1 false alarms a picture, whatever the label, by size in px:\n")
    buckets = list(next(iter(figures.values()))["tight"]["recall"]["with_mask"])
    print(f"| model | {' | '.join(buckets)} |\n|---|{'---|' * len(buckets)}")
    for name, measured in figures.items():
        cells = [f"{value:.3f}" for value in measured["tight"]["recall"]["with_mask"].values()]
        print(f"| {name} | {' | '.join(cells)} |")
    return figures


_HEAD = (
    "| model | tight mAP50 | with_mask | without_mask | incorrect | face AP | ditface3k | mawear |\n"
    "|---|---|---|---|---|---|---|---|"
)


def _of_sets(
    labelled: list[LabelledImage], found: list[Detections], sets: tuple[str, ...], iou: float
) -> Report:
    chosen = [index for index, image in enumerate(labelled) if image.set_name in sets]
    return evaluate([labelled[index] for index in chosen], [found[index] for index in chosen], iou=iou)


def _row(peer: Peer, tight: Report, loose: dict[str, Report]) -> str:
    if not peer.judges_masks:
        return f"| {peer.name} | – | – | – | – | {tight.face_ap:.3f} | – | – |"
    wrong = tight.ap["mask_worn_incorrectly"]
    cells = [tight.map_two, tight.ap["with_mask"], tight.ap["without_mask"], wrong, tight.face_ap]
    cells += [one.map_two for one in loose.values()]
    return f"| {peer.name} | {' | '.join(f'{value:.3f}' for value in cells)} |"

"""How often something is taken for a face in pictures that hold none, ours and every peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.accuracy import all_peers
from benchmarks.faceless import GATHERED, alarms, gather, score_at
from benchmarks.peers import Ours
from benchmarks.photos import tight_photos
from maskwatch.codec import read_picture
from maskwatch.datasets import read_coco
from maskwatch.evaluate import evaluate

RECALLS = (0.7, 0.8, 0.9)
"""Shares of the faces in photos of people; false alarms are counted at the score that finds as many."""
EVERY = 3
"""Which of the photos of people say what that score is."""
LEAST_SCORE = 0.02
"""Lower ones bury Ultra-Light's suppression in thousands of boxes a picture."""


def run(shared: Path) -> dict[str, Any]:
    """Print and give `Alarms` of each peer, by the share of faces that it finds in photos of people."""
    if not (GATHERED / "test" / "annotations.json").is_file():
        gather(GATHERED, ["test"])
    pictures = [read_picture(image.path).image for image in read_coco(GATHERED / "test")]
    people = tight_photos(shared)[::EVERY]
    photos = [read_picture(image.path).image for image in people]
    columns = [f"{share:.0%}" for share in RECALLS]
    print(f"In {len(pictures)} pictures: false alarms a hundred pictures, and how many of these have one\n")
    print(f"| faces found in {len(people)} photos of people | {' | '.join(columns)} | as shipped |")
    print(f"|---|{'---|' * (len(columns) + 1)}")
    figures: dict[str, Any] = {}
    for peer in all_peers(shared, score_threshold=LEAST_SCORE):
        curve = evaluate(people, [peer.detect(photo) for photo in photos]).curves["face"]
        found = [peer.detect(picture) for picture in pictures]
        scores = {name: score_at(curve, share) for name, share in zip(columns, RECALLS, strict=True)}
        if isinstance(peer, Ours):
            scores["as shipped"] = peer.card.score_threshold
        rows = {name: alarms(found, score) for name, score in scores.items() if score is not None}
        figures[peer.name] = {name: row.__dict__ for name, row in rows.items()}
        texts = {name: f"{row.a_hundred:.1f}, {row.pictures:.1%}" for name, row in rows.items()}
        cells = [texts.get(name, "–") for name in (*columns, "as shipped")]
        print(f"| {peer.name} | {' | '.join(cells)} |", flush=True)
    return figures

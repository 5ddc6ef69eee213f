"""What another camera, lamp or program takes from the accuracy of ours and of AIZOO's network.

Every third of the open validation photos is changed in fixed ways (`maskwatch.training.shifts`); training
shows changes of the same kinds, of random strengths, so this tells how well they were learnt, not what else
there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.accuracy import tight_photos
from benchmarks.peers import Aizoo, Ours, Peer
from maskwatch.codec import read_picture
from maskwatch.detector import packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, evaluate
from maskwatch.training.shifts import SHIFTS

EVERY = 3
"""All of them would take a quarter of an hour."""


def run(shared: Path) -> dict[str, Any]:
    """Print the tight mAP50 of each after each change, and the mean; gives it with the face AP."""
    images = tight_photos(shared)[::EVERY]
    pictures = [read_picture(image.path).image for image in images]
    peers: list[Peer] = [
        Ours(name, score_threshold=WHOLE_CURVE_SCORE, threads=1) for name in packaged_models()
    ]
    peers.append(Aizoo(shared / "peers", threads=1, score_threshold=WHOLE_CURVE_SCORE))
    figures: dict[str, Any] = {peer.name: {} for peer in peers}
    print(f"| tight mAP50 | {' | '.join(figures)} |\n|---|{'---|' * len(peers)}")
    for name, shift in SHIFTS.items():
        truths, changed = zip(*map(shift, images, pictures), strict=True)
        for peer in peers:
            report = evaluate(truths, [peer.detect(pixels) for pixels in changed])
            figures[peer.name][name] = {"tight": report.map_two, "face_ap": report.face_ap}
        _print_row(name, [of_peer[name]["tight"] for of_peer in figures.values()])
    _print_row("mean", [_mean(of_peer) for of_peer in figures.values()])
    return figures


def _print_row(name: str, values: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


def _mean(of_peer: dict[str, dict[str, float]]) -> float:
    return sum(one["tight"] for one in of_peer.values()) / len(of_peer)

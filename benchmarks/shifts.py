"""What other light, cameras, or gear on the head take from the accuracy of ours and of AIZOO's network.

`shifts` changes every third of the open validation photos in fixed ways (`maskwatch.training.shifts`). `gear`
draws goggles, helmets, hoods and the like (`maskwatch.synthesis.gear`) on every face in them whose landmarks
YuNet finds, and darkens its skin. Training shows changes of these kinds, at random strengths, so this tells
how well they were learnt, not what else there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import Aizoo, Ours, Peer
from benchmarks.photos import tight_photos
from maskwatch.codec import read_picture
from maskwatch.datasets import LabelledImage
from maskwatch.detector import packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, evaluate
from maskwatch.frames import Image
from maskwatch.training.dressing import OUTFITS, FloatArray, in_outfit, landmarks_of, with_dark_skin
from maskwatch.training.prepare import FaceFinder
from maskwatch.training.shifts import SHIFTS

EVERY = 3
"""All of them would take a quarter of an hour."""


class Changed(NamedTuple):
    """All photos after one change: its name, what is labelled in them, and their pixels."""

    name: str
    truths: Sequence[LabelledImage]
    pictures: Sequence[Image]


def run(shared: Path) -> dict[str, Any]:
    """Print the tight mAP50 of each after each change, and the mean; gives it with the face AP."""
    return _compared(shared, _shifted(*_photos(shared)))


def run_gear(shared: Path) -> dict[str, Any]:
    """The same in each outfit, and with darker skin."""
    images, pictures = _photos(shared)
    landmarks = landmarks_of(images, FaceFinder(shared / "peers" / "yunet_2023mar.onnx"))
    return _compared(shared, _with_changed_faces(images, pictures, landmarks))


def _shifted(images: Sequence[LabelledImage], pictures: Sequence[Image]) -> Iterator[Changed]:
    for name, shift in SHIFTS.items():
        truths, changed = zip(*map(shift, images, pictures), strict=True)
        yield Changed(name, truths, changed)


def _with_changed_faces(
    images: Sequence[LabelledImage],
    pictures: Sequence[Image],
    landmarks: Sequence[FloatArray],
) -> Iterator[Changed]:
    for name, kinds in OUTFITS.items():
        yield Changed(name, images, in_outfit(images, pictures, landmarks, kinds))
    yield Changed("dark skin", images, with_dark_skin(images, pictures, landmarks))


def _photos(shared: Path) -> tuple[list[LabelledImage], list[Image]]:
    images = tight_photos(shared)[::EVERY]
    return images, [read_picture(image.path).image for image in images]


def _compared(shared: Path, changes: Iterable[Changed]) -> dict[str, Any]:
    peers: list[Peer] = [
        Ours(name, score_threshold=WHOLE_CURVE_SCORE, threads=1) for name in packaged_models()
    ]
    peers.append(Aizoo(shared / "peers", threads=1, score_threshold=WHOLE_CURVE_SCORE))
    figures: dict[str, Any] = {peer.name: {} for peer in peers}
    print(f"| tight mAP50 | {' | '.join(figures)} |\n|---|{'---|' * len(peers)}")
    for name, truths, pictures in changes:
        for peer in peers:
            report = evaluate(truths, [peer.detect(pixels) for pixels in pictures])
            figures[peer.name][name] = {"tight": report.map_two, "face_ap": report.face_ap}
        _print_row(name, [of_peer[name]["tight"] for of_peer in figures.values()])
    _print_row("mean", [_mean(of_peer) for of_peer in figures.values()])
    return figures


def _print_row(name: str, values: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


def _mean(of_peer: dict[str, dict[str, float]]) -> float:
    return sum(one["tight"] for one in of_peer.values()) / len(of_peer)

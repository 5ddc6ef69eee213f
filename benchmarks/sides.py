"""How small a picture may be made: accuracy and time of our models by `max_side`, beside AIZOO's network.

AIZOO's network sees every picture at 260×260. Where ours is as accurate on the same photos at a smaller
size, the times tell how much faster it reaches the same. Times are of the networks alone, decoding and
suppression included in ours and left out in AIZOO's, on one thread, in turn: the least of many for each of
some photos spread over the set, and the mean of these, as our pictures keep their shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cost import one_thread, ours
from benchmarks.peers import Aizoo
from benchmarks.photos import tight_photos
from benchmarks.timing import in_turn
from maskwatch.codec import read_picture
from maskwatch.detector import DetectOptions, Detector, packaged_models
from maskwatch.evaluate import WHOLE_CURVE_SCORE, evaluate

SIDES = (160, 176, 192, 200, 208, 224, 256, 320, 416, 512, 640)
ROUNDS = 60
TIMED_PHOTOS = 10


def run(shared: Path) -> dict[str, Any]:
    """Print accuracy, milliseconds, and how many times faster than AIZOO's network; gives all figures."""
    labelled = tight_photos(shared)
    pictures = [read_picture(image.path).image for image in labelled]
    timed = pictures[:: len(pictures) // TIMED_PHOTOS][:TIMED_PHOTOS]
    aizoo = Aizoo(shared / "peers", score_threshold=WHOLE_CURVE_SCORE)
    figures: dict[str, Any] = {
        aizoo.name: {"tight": evaluate(labelled, [aizoo.detect(one) for one in pictures]).map_two}
    }
    calls: dict[tuple[str, int], Callable[[], object]] = {(aizoo.name, 0): aizoo.run_network}
    for model in packaged_models():
        data, usual = ours(model)
        session = one_thread(data)
        for side in SIDES:
            one_look = DetectOptions(
                score_threshold=WHOLE_CURVE_SCORE, max_side=side, turned=False, threads=1
            )
            detector = Detector(model, one_look)
            name = f"{model} at {side}"
            figures[name] = {"tight": evaluate(labelled, [detector.detect(one) for one in pictures]).map_two}
            for number, one in enumerate(timed):
                score = np.array([detector.card.score_threshold], dtype=np.float32)
                feed = {**usual, "images": detector.prepare(one).pixels[None], "score_threshold": score}
                calls[name, number] = partial(session.run, None, feed)
    by_photo = in_turn(calls, ROUNDS)
    best = {
        name: float(np.mean([time for (each, _), time in by_photo.items() if each == name]))
        for name in figures
    }
    print("| longer side | tight mAP50 | ms | AIZOO's time ÷ this |\n|---|---|---|---|")
    for name, one in figures.items():
        one["ms"] = best[name] * 1e3
        one["times_faster"] = best[aizoo.name] / best[name]
        print(f"| {name} | {one['tight']:.3f} | {one['ms']:.2f} | {one['times_faster']:.1f} |")
    return figures

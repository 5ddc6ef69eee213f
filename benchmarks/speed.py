"""Time of ours and of every peer on the same pictures, in turn, as ratios to ours.

Each peer gets a decoded RGB picture and gives suppressed boxes, so resizing, the network, decoding
and suppression all count.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from benchmarks.accuracy import all_peers
from benchmarks.peers import Aizoo
from benchmarks.timing import in_turn
from maskwatch.codec import read_picture

SIDES = (320, 640, 1024)
ROUNDS = 20


def run(shared: Path) -> dict[str, Any]:
    """Measure on one crowded photo at several sizes, then the whole `image` command."""
    photos = sorted((shared / "data" / "val" / "images").glob("kaggle853*"))
    crowd = read_picture(max(photos, key=lambda path: path.stat().st_size)).image
    figures: dict[str, Any] = {}
    for threads in (1, 2):
        peers = list(all_peers(shared, threads=threads, score_threshold=0.3))
        for side in SIDES:
            scale = side / max(crowd.shape[:2])
            picture = cv2.resize(crowd, None, fx=scale, fy=scale).astype("uint8")
            timed = in_turn({peer.name: partial(peer.detect, picture) for peer in peers}, ROUNDS)
            best = {name: seconds * 1e3 for name, seconds in timed.items()}
            figures[f"{side} px, {threads} threads"] = best
            ours = next(iter(best.values()))
            words = ", ".join(f"{name} {ms:.1f} ms (×{ms / ours:.2f})" for name, ms in best.items())
            print(f"{picture.shape[1]}×{picture.shape[0]}, {threads} thread(s): {words}")
    figures["image command"] = image_command(shared)
    return figures


def image_command(shared: Path) -> dict[str, float]:
    """Images a second of `maskwatch image` on the whole val folder, beside a loop over AIZOO's net."""
    folder = shared / "data" / "val" / "images"
    count = len(list(folder.iterdir()))
    rates = {}
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-c", "from maskwatch.cli.app import main; main()", "image"]
            started = time.perf_counter()
            subprocess.run(
                [*command, str(folder), "-o", out, "--threads", str(threads), "--quiet"], check=True
            )
            rates[f"maskwatch image, {threads} threads"] = count / (time.perf_counter() - started)
            if len([path for path in Path(out).rglob("*") if path.is_file()]) != count:
                raise RuntimeError("a picture was not answered")
    for threads in (1, 2):
        aizoo = Aizoo(shared / "peers", threads=threads, score_threshold=0.5)
        started = time.perf_counter()
        for path in folder.iterdir():
            aizoo.detect(read_picture(path).image)
        rates[f"AIZOO, no output written, {threads} threads"] = count / (time.perf_counter() - started)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} images/s")
    return rates

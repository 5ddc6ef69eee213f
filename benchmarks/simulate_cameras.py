"""A thousand cameras in simulated time, with service times measured on this machine.

First decoding and batches of 1 to 4 pictures are timed, one core, one thread. Then hosts of one core
each run `maskwatch watch`'s rounds on simulated arrivals: a camera sends 25 pictures a second, of
which 5 are wanted; the newest wins; a round takes those that waited longest, one or at most 4 at
once.
Decoding takes its share of the core at all times. Everything else, network and events, is left out.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskwatch.pipeline.stages import load_tracking
from maskwatch.sources.video import VideoFile

CAMERAS, SENT_FPS, FPS, AT_ONCE = 1000, 25.0, 5.0, 4
SECONDS = 20.0
LOADS = (5, 8, 10, 12, 15, 20)


@dataclass(frozen=True)
class Service:
    """Measured times in s, on one core.

    Attributes:
        decode_s: of one picture.
        batch_s: samples of whole rounds, conversion, network, tracking, by size of the batch.
    """

    decode_s: float
    batch_s: dict[int, list[float]]


def run(shared: Path) -> dict[str, Any]:
    """Measure, simulate, and print for each number of cameras on a core what they get."""
    clips = sorted((shared / "data" / "videos").glob("*.mkv"))
    service = measure(clips)
    figures: dict[str, Any] = {
        "decode, ms": service.decode_s * 1e3,
        **{f"round of {n}, ms": float(np.median(times)) * 1e3 for n, times in service.batch_s.items()},
    }
    print({key: round(value, 2) for key, value in figures.items()})
    for at_once in (1, AT_ONCE):
        enough = None
        for load in LOADS:
            row = _of_load(service, load, at_once)
            figures[f"{load} cameras a core, {at_once} at once"] = row
            print(f"{load:3d} cameras a core, {at_once} at once", {k: round(v, 3) for k, v in row.items()})
            if row["worst camera's share"] >= 0.95:
                enough = load
        figures[f"cameras a core with every share ≥ 0.95, {at_once} at once"] = enough
        print(f"cameras a core with every share ≥ 0.95, {at_once} at once:", enough)
    return figures


def _of_load(service: Service, load: int, at_once: int) -> dict[str, float]:
    """All cameras, so many on each core."""
    hosts = -(-CAMERAS // load)
    results = [simulate(service, load, seed, at_once) for seed in range(hosts)]
    shares = [share for one in results for share in one["shares"]]
    latencies_s = [time_s for one in results for time_s in one["latencies_s"]]
    return {
        "cores": hosts,
        "share looked at": float(np.mean(shares)),
        "worst camera's share": float(np.min(shares)),
        "p95 latency, ms": float(np.percentile(latencies_s, 95) * 1e3),
    }


def measure(clips: list[Path]) -> Service:
    """Time decoding and rounds on pictures of all clips."""
    frames = []
    began, count = time.process_time(), 0
    for clip in clips:
        with VideoFile(clip) as video:
            for frame in video:
                count += 1
                if frame.index % 20 == 0:
                    frames.append(frame)
    decode_s = (time.process_time() - began) / count
    detector, _ = load_tracking(None, None, 640)
    from maskwatch.detector import Detector

    assert isinstance(detector, Detector)
    same = [frame for frame in frames if frame.size_wh == frames[0].size_wh]
    batch_s: dict[int, list[float]] = {}
    for size in range(1, AT_ONCE + 1):
        samples = []
        for start in range(20):
            batch = [same[(start * size + k) % len(same)] for k in range(size)]
            begun = time.thread_time()
            detector.detect_letterboxed([detector.prepare(frame) for frame in batch])
            samples.append(time.thread_time() - begun)
        batch_s[size] = samples[5:]
    return Service(decode_s, batch_s)


def simulate(service: Service, cameras: int, seed: int, at_once: int) -> dict[str, Any]:
    """One core with so many cameras for `SECONDS`; share looked at by camera, and latencies."""
    rng = random.Random(seed)
    speed = 1.0 - cameras * SENT_FPS * service.decode_s
    if speed <= 0.02:
        return {"shares": [0.0] * cameras, "latencies_s": [SECONDS]}
    phases = [rng.uniform(0, 1 / FPS) for _ in range(cameras)]
    arrived = [0] * cameras  # pictures taken account of, by camera
    looked = [0] * cameras
    looked_at = [-1.0] * cameras
    latencies_s: list[float] = []
    now = 0.0
    while now < SECONDS:
        waiting = []
        for camera in range(cameras):
            number = int((now - phases[camera]) * FPS) + 1 if now >= phases[camera] else 0
            if number > arrived[camera]:
                waiting.append((looked_at[camera], camera, number))
        if not waiting:
            nexts = [phases[c] + arrived[c] / FPS for c in range(cameras)]
            now = max(now + 1e-6, min(nexts))
            continue
        chosen = sorted(waiting)[:at_once]
        taken_at = now
        now += rng.choice(service.batch_s[len(chosen)]) / speed
        for _, camera, number in chosen:
            latencies_s.append(now - (phases[camera] + (number - 1) / FPS))
            arrived[camera], looked_at[camera] = number, taken_at
            looked[camera] += 1
    return {"shares": [one / (SECONDS * FPS) for one in looked], "latencies_s": latencies_s}

"""Sixteen cameras on this machine: each one's share, drops and latency, while one floods and one dies.

Fifteen are files played at their own pace, one is an RTSP server. After a calm third a camera that
sends 500 pictures a second joins, for the last third the RTSP server is killed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tests.clips import make_clip, numbered
from tests.services.servers import RtspCamera

from maskwatch.pipeline import LiveStep
from maskwatch.pipeline.stages import load_tracking
from maskwatch.watch.config import CameraConfig
from maskwatch.watch.session import Session

MINUTES = float(os.environ.get("MASKWATCH_BENCH_MINUTES", "10"))
CAMERAS, FPS, CORES, AT_ONCE = 16, 5.0, 2, 1
PHASES = ("calm", "one floods", "one floods, one is dead")


@dataclass
class _Tally:
    """What one camera came to in one phase."""

    looked: int = 0
    dropped: int = 0
    latencies_s: list[float] = field(default_factory=list)


def run(shared: Path) -> dict[str, Any]:
    """Watch for `MINUTES`; prints a line a camera and phase, and how the others fared."""
    with tempfile.TemporaryDirectory(prefix="maskwatch-cameras") as name, RtspCamera() as rtsp:
        folder = Path(name)
        events = folder / "events.jsonl"
        cameras = _cameras(shared, rtsp.url, str(events))
        flood = make_clip(folder / "flood.mp4", [numbered(n) for n in range(1000)], rate=Fraction(500))
        tallies = _watch(cameras, _config(str(flood), str(events)), rtsp, folder)
        rows = {
            phase: {camera: _figures(tally, MINUTES * 20) for camera, tally in by_camera.items()}
            for phase, by_camera in tallies.items()
        }
        count = sum(1 for _ in events.open(encoding="utf-8"))
    figures: dict[str, Any] = {"minutes": MINUTES, "events stored": count, "cameras": rows}
    for phase, by_camera in rows.items():
        for camera, values in by_camera.items():
            print(f"{phase:24} {camera:6}", values)
        others = [v for camera, v in by_camera.items() if camera not in ("flood", "rtsp")]
        figures[phase] = {
            "looks a second of the 15 files together": sum(v["looks/s"] for v in others),
            "least looks a second of one": min(v["looks/s"] for v in others),
            "most looks a second of one": max(v["looks/s"] for v in others),
            "largest share dropped": max(v["share dropped"] for v in others),
            "worst p95 latency, ms": max(v["p95, ms"] for v in others),
        }
        print(phase, {key: round(value, 3) for key, value in figures[phase].items()})
    return figures


def _cameras(shared: Path, rtsp: str, events: str) -> dict[str, CameraConfig]:
    clips = sorted((shared / "data" / "videos").glob("*.mkv"))
    files = {f"file{n:02d}": _config(str(clips[n % len(clips)]), events) for n in range(CAMERAS - 1)}
    return {**files, "rtsp": _config(rtsp, events)}


def _config(source: str, events: str) -> CameraConfig:
    return CameraConfig(source=source, fps=FPS, loop=True, sinks=(events,))


def _watch(
    cameras: dict[str, CameraConfig], flood: CameraConfig, rtsp: RtspCamera, folder: Path
) -> dict[str, dict[str, _Tally]]:
    """All three phases in one session."""
    detector, track = load_tracking(None, None, 640)
    tallies: dict[str, dict[str, _Tally]] = {phase: {} for phase in PHASES}
    phase = PHASES[0]
    dropped: dict[str, int] = {}
    began = time.monotonic()

    def on_step(step: LiveStep) -> None:
        tally = tallies[phase].setdefault(step.camera, _Tally())
        tally.dropped += step.status.dropped - dropped.get(step.camera, 0)
        dropped[step.camera] = step.status.dropped
        if step.frame is not None:
            tally.looked += 1
            tally.latencies_s.append(_latency_s(step))

    starts: dict[str, float] = {}

    def _latency_s(step: LiveStep) -> float:
        """From the picture's arrival to now: the session's clock less the camera's."""
        assert step.frame is not None
        return time.monotonic() - starts[step.camera] - step.frame.pts_s

    actions: list[Callable[[], None]] = [
        lambda: _note_starts(session, starts, session.apply({**cameras, "flood": flood})),
        rtsp.kill,
    ]

    def between() -> None:
        nonlocal phase
        done = (time.monotonic() - began) / (MINUTES * 60)
        wanted = PHASES[min(2, int(3 * done))]
        if wanted != phase:
            actions.pop(0)()
            phase = wanted

    with Session(detector, track, folder / "spool", rounds=(CORES, AT_ONCE), on_step=on_step) as session:
        _note_starts(session, starts, session.apply(cameras))
        session.run(stop=threading.Event(), duration_s=MINUTES * 60, between=between)
    return tallies


def _note_starts(session: Session, starts: dict[str, float], said: list[str]) -> None:
    """When each camera's clock began, on this process's clock."""
    for words in said:
        print(words)
    for camera in session.cameras:
        starts.setdefault(camera.name, time.monotonic() - camera.now_s)


def _figures(tally: _Tally, seconds: float) -> dict[str, float]:
    p50, p95 = np.percentile(tally.latencies_s or [0.0], (50, 95))
    wanted = tally.looked + tally.dropped
    return {
        "looks/s": round(tally.looked / seconds, 3),
        "share dropped": round(tally.dropped / wanted, 3) if wanted else 0.0,
        "p50, ms": round(float(p50) * 1e3, 1),
        "p95, ms": round(float(p95) * 1e3, 1),
    }

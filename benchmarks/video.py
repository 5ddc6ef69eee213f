"""Video end to end: against its slowest stage, against the tutorial's pipeline, and for an hour."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from tests.clips import SOUND_RATE, number_of, numbered

from benchmarks import fetched
from benchmarks.peers import TutorialPipeline
from benchmarks.scenes import HEADS, crowd
from benchmarks.timing import in_turn
from maskwatch import DetectOptions, Detector, annotate
from maskwatch.pipeline import ClipOptions, ordered_map, process_clip
from maskwatch.sinks.video_file import VideoWriter
from maskwatch.sources.video import VideoFile
from maskwatch.tracker import WEAK_SCORE

ROUNDS = 3


def run(shared: Path) -> dict[str, Any]:
    """Measure on a crowd of ten; prints ratios, gives all figures."""
    with tempfile.TemporaryDirectory() as folder:
        clip = crowd().write(Path(folder) / "crowd.mp4")
        figures: dict[str, Any] = {"stages": stages(clip, Path(folder))}
        figures["tutorial"] = against_tutorial(clip, shared)
    return figures


def stages(clip: Path, folder: Path) -> dict[str, float]:
    """Frames a second of each stage alone, and of the whole.

    A stage alone is timed on as many threads as it has in the whole (detection: two; x264's own), and
    detection on a single one as well, which is a whole's limit where every stage has one core.
    """
    detector = _detector()
    with VideoFile(clip) as source:
        frames, rate, unit = list(source), source.info.rate, source.info.time_base
    found = [detector.detect(frame) for frame in frames]

    def decode() -> None:
        with VideoFile(clip) as source:
            for _ in source:
                pass

    def detect(workers: int = 2) -> None:
        for _ in ordered_map(detector.detect, iter(frames), workers=workers):
            pass

    def write() -> None:
        with VideoWriter(folder / "stage.mp4", rate=rate, time_base=unit) as writer:
            for frame, faces in zip(frames, found, strict=True):
                writer.write(annotate(frame.image, faces), frame.pts_s)

    def whole(every: int | None, workers: int = 2) -> None:
        process_clip(clip, folder / "whole.mp4", detector, ClipOptions(every=every, workers=workers))

    timed = in_turn(
        {
            "decode": decode,
            "detect": detect,
            "detect, one thread": lambda: detect(1),
            "draw and encode": write,
            "whole": lambda: whole(1),
            "whole, detection on one thread": lambda: whole(1, 1),
            "whole, usual looks": lambda: whole(None),
        },
        ROUNDS,
    )
    fps = {name: len(frames) / seconds for name, seconds in timed.items()}
    slowest = min(fps["decode"], fps["detect"], fps["draw and encode"])
    fps["whole ÷ slowest stage"] = fps["whole"] / slowest
    fps["the same, detection on one thread"] = (
        fps["whole, detection on one thread"] / fps["detect, one thread"]
    )
    core_s = _core_seconds([decode, detect, write])
    fps["whole ÷ what both cores allow"] = fps["whole"] * core_s / 2 / len(frames)
    print("stages, fps:", {name: round(value, 2) for name, value in fps.items()})
    return fps


def against_tutorial(clip: Path, shared: Path) -> dict[str, float]:
    """Our whole pipeline against SSD + MobileNetV2 on every face, both without an output file."""
    detector = _detector()
    classifier = fetched.tutorial_classifier(shared)
    faces = {"ours": 0, "tutorial": 0}

    def ours(every: int | None) -> None:
        summary = process_clip(clip, None, detector, ClipOptions(every=every))
        faces["ours"] = sum(summary.people.values())

    def tutorial() -> None:
        stages = TutorialPipeline(shared / "peers", classifier, threads=2, score_threshold=0.5)
        capture = cv2.VideoCapture(str(clip))
        faces["tutorial"] = count = 0
        while True:
            done, image = capture.read()
            if not done:
                break
            faces["tutorial"] += len(stages.detect(np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)))
            count += 1
        faces["tutorial"] = round(faces["tutorial"] / max(count, 1))

    timed = in_turn(
        {"ours": lambda: ours(None), "ours, every frame": lambda: ours(1), "tutorial": tutorial},
        ROUNDS,
    )
    figures = {f"{name} s": value for name, value in timed.items()}
    figures |= {f"{name} faces": float(value) for name, value in faces.items()}
    figures["times faster"] = timed["tutorial"] / timed["ours"]
    figures["times faster, every frame"] = timed["tutorial"] / timed["ours, every frame"]
    print("crowd clip:", {name: round(value, 2) for name, value in figures.items()})
    return figures


def run_hour(_shared: Path) -> dict[str, Any]:
    """See `hour`."""
    with tempfile.TemporaryDirectory() as folder:
        return hour(Path(folder))


def hour(folder: Path, *, minutes: float = 60.0, fps: int = 10) -> dict[str, float]:
    """A long video through `maskwatch video`: memory by quarter, frames lost, sound's drift."""
    clip, copy = folder / "hour.mp4", folder / "copy.mp4"
    _write_long(clip, minutes, fps)
    command = [sys.executable, "-c", "from maskwatch.cli.app import main; main()", "video"]
    process = subprocess.Popen([*command, str(clip), "-o", str(copy), "--quiet", "--max-side", "320"])
    sizes: list[tuple[float, int]] = []
    started = time.monotonic()
    while process.poll() is None:
        sizes.append((time.monotonic() - started, _resident_kb(process.pid)))
        time.sleep(0.5)
    wall_s = time.monotonic() - started
    quarter = [
        float(np.median([kb for at_s, kb in sizes if low <= at_s / wall_s < low + 0.25])) / 1024
        for low in (0.0, 0.25, 0.5, 0.75)
    ]
    with VideoFile(copy) as source:
        seen = [(number_of(frame.image), frame.pts_s) for frame in source]
    wanted = list(range(round(minutes * 60 * fps)))
    numbers = [number for number, _ in seen]
    drift_s = max(abs(pts_s - number / fps) for number, pts_s in seen)
    figures = {
        "frames": float(len(wanted)),
        "lost": float(len(set(wanted) - set(numbers))),
        "out of order": float(sum(b <= a for a, b in itertools.pairwise(numbers))),
        "largest error of a frame's time, ms": drift_s * 1e3,
        "largest error of the sound, ms": _sound_error_s(clip, copy) * 1e3,
        "fps": len(wanted) / wall_s,
        **{f"RSS in quarter {index}, MiB": value for index, value in enumerate(quarter, 1)},
    }
    print("hour:", {name: round(value, 2) for name, value in figures.items()})
    return figures


def _detector() -> Detector:
    return Detector(options=DetectOptions(score_threshold=WEAK_SCORE, max_side=1024, threads=1))


def _core_seconds(works: list[Callable[[], None]]) -> float:
    """CPU time that the works take together, in s."""
    started = time.process_time()
    for work in works:
        work()
    return time.process_time() - started


def _long_frames(minutes: float, fps: int) -> Iterator[np.ndarray[Any, Any]]:
    """Numbered frames with a head that walks through."""
    head = cv2.resize(HEADS[1], (95, 100))
    for number in range(round(minutes * 60 * fps)):
        image = numbered(number, 320, 180)
        left = number * 3 % 225
        image[60:160, left : left + 95] = head
        yield image


def _write_long(path: Path, minutes: float, fps: int) -> None:
    """An H.264 file with AAC: a beep of 0.2 s at every full minute."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "23"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = out.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number, image in enumerate(_long_frames(minutes, fps)):
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            count = SOUND_RATE // fps
            at = (number * count + np.arange(count)) / SOUND_RATE
            wave = np.where(at % 60 < 0.2, np.sin(2 * np.pi * 1000 * at) * 0.8, 0)
            piece = av.AudioFrame.from_ndarray(
                (wave * 32767).astype(np.int16)[None], format="s16", layout="mono"
            )
            piece.sample_rate, piece.pts = SOUND_RATE, number * count
            piece.time_base = Fraction(1, SOUND_RATE)
            out.mux(sound.encode(piece))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def _beeps(path: Path) -> list[float]:
    """When each beep begins, in s."""
    begins, loud = [], False
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray().astype(np.float64).reshape(-1)
            is_loud = float(np.abs(wave).max()) > 0.2
            if is_loud and not loud and frame.time is not None:
                begins.append(frame.time + float((np.abs(wave) > 0.2).argmax()) / frame.sample_rate)
            loud = is_loud
    return begins


def _sound_error_s(clip: Path, copy: Path) -> float:
    """Largest difference between the beeps of a video and of its copy."""
    before, after = _beeps(clip), _beeps(copy)
    if len(before) != len(after):
        raise RuntimeError(f"{len(before)} beeps became {len(after)}")
    return max(abs(a - b) for a, b in zip(before, after, strict=True))


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)

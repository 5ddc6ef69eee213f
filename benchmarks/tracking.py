"""Ids and verdicts: IDF1 and id switches on a scene with known paths, label flips on real clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from benchmarks.scenes import crossing
from maskwatch import Detections, DetectOptions, Detector
from maskwatch.boxes import iou
from maskwatch.frames import Frame
from maskwatch.pipeline import ClipOptions, WatchOptions, process_clip
from maskwatch.tracker import WEAK_SCORE, Tracker, TrackOptions

Truth = list[tuple[int, npt.NDArray[np.float64]]]


def run(shared: Path) -> dict[str, Any]:
    """Measure both; prints a line each, gives all figures."""
    figures: dict[str, Any] = {"crossing": {}}
    for name, every in (("every frame", 1), ("every 2nd frame", 2), ("every 3rd frame", 3)):
        figures["crossing"][name] = crossing_scene(every)
        print(f"crossing scene, {name}: {figures['crossing'][name]}")
    figures["clips"] = {}
    for clip in sorted((shared / "data" / "videos").iterdir()):
        figures["clips"][clip.name] = flips(clip)
        print(f"{clip.name}: {figures['clips'][clip.name]}")
    return figures


def crossing_scene(every: int) -> dict[str, float]:
    """IDF1, id switches and misses of the tracker fed by the packaged detector."""
    detector = Detector(options=DetectOptions(score_threshold=WEAK_SCORE, max_side=640))
    tracker = Tracker(TrackOptions())
    rows: list[tuple[Truth, Detections]] = []
    for index, (image, truth) in enumerate(crossing().frames()):
        time_s = index / float(crossing().fps)
        if index % every == 0:
            found = detector.detect(Frame(image, index, time_s, "scene"))
            rows.append((truth, tracker.update(found, time_s)))
        else:
            rows.append((truth, tracker.coast(time_s)))
    return identities(rows)


def identities(rows: list[tuple[Truth, Detections]], least_iou: float = 0.5) -> dict[str, float]:
    """IDF1 (Ristani et al. 2016) and id switches (CLEAR MOT) of frames of truth and tracks."""
    together: dict[tuple[int, int], int] = {}
    truths: dict[int, int] = {}
    tracks: dict[int, int] = {}
    last: dict[int, int] = {}
    switches = misses = 0
    for truth, tracked in rows:
        for number, _ in truth:
            truths[number] = truths.get(number, 0) + 1
        for track in tracked.track_id.tolist():
            tracks[track] = tracks.get(track, 0) + 1
        faces = np.array([face for _, face in truth], np.float32).reshape(-1, 4)
        overlap = iou(faces, tracked.xyxy)
        pairs = zip(*linear_sum_assignment(-overlap), strict=True) if overlap.size else ()
        matched = [(row, column) for row, column in pairs if overlap[row, column] >= least_iou]
        misses += len(truth) - len(matched)
        for row, column in matched:
            number, track = truth[row][0], int(tracked.track_id[column])
            together[number, track] = together.get((number, track), 0) + 1
            switches += last.get(number, track) != track
            last[number] = track
    table = np.zeros((len(truths), len(tracks)))
    for (number, track), count in together.items():
        table[list(truths).index(number), list(tracks).index(track)] = count
    right = table[linear_sum_assignment(-table)].sum()
    total = sum(truths.values()) + sum(tracks.values())
    return {
        "IDF1": round(float(2 * right / total), 4),
        "id_switches": switches,
        "missed_share": round(misses / sum(truths.values()), 4),
        "people": len(truths),
        "tracks": len(tracks),
    }


def flips(clip: Path) -> dict[str, float]:
    """Changes of label from look to look, raw and after evidence was gathered, and people seen."""
    detector = Detector(options=DetectOptions(score_threshold=WEAK_SCORE, max_side=640, threads=1))
    options = ClipOptions(watch=replace(WatchOptions()))
    summary = process_clip(clip, None, detector, options)
    return {
        "frames": summary.frames,
        "people": sum(summary.people.values()),
        "label_flips": summary.label_flips,
        "verdict_flips": summary.verdict_flips,
        "with_mask": summary.people["with_mask"],
    }

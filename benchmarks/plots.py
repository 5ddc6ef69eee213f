"""Pictures of what was measured: accuracy against time, and precision over recall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FRAME = "640 px, 1 threads"
"""The entry of the speed benchmark that accuracy is drawn against."""


def draw(results: Path) -> list[Path]:
    """Draw what `accuracy.json` and `speed.json` in `results` hold, both as measured; the pictures' paths."""
    accuracy, speed = (json.loads((results / f"{name}.json").read_text()) for name in ("accuracy", "speed"))
    return [
        _trade_off(accuracy, speed[FRAME], results / "accuracy_over_time.png"),
        _curves(accuracy, results / "precision_over_recall.png"),
    ]


def _trade_off(accuracy: dict[str, Any], milliseconds: dict[str, float], target: Path) -> Path:
    """Tight mAP50 of those that judge masks, and face AP of all, against ms a picture."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, figures in accuracy.items():
        if name not in milliseconds:
            continue
        tight = figures["tight"]
        marker = "o" if figures["ours"] else "s"
        for axes, value in ((left, tight["map_two"]), (right, tight["face_ap"])):
            if axes is left and not figures["judges_masks"]:
                continue
            axes.plot(milliseconds[name], value, marker, label=name)
            axes.annotate(
                name, (milliseconds[name], value), fontsize=7, xytext=(4, 4), textcoords="offset points"
            )
    left.set_ylabel("tight mAP50, with and without mask")
    right.set_ylabel("face AP50, whatever the label")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("ms a picture of 640 px, one thread")
        axes.grid(visible=True, which="both", alpha=0.2)
    figure.savefig(target, dpi=120)
    return target


def _curves(accuracy: dict[str, Any], target: Path) -> Path:
    """Precision over recall for faces, with_mask and without_mask on the tight photos."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, label in zip(figure.subplots(1, 3), ("face", "with_mask", "without_mask"), strict=True):
        for name, figures in accuracy.items():
            if label != "face" and not figures["judges_masks"]:
                continue
            curve = figures["curves"][label]
            axes.plot(curve["recall"], curve["precision"], label=name, linewidth=2 if figures["ours"] else 1)
        axes.set_title(label)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.grid(visible=True, alpha=0.2)
        axes.set_xlim(0.4, 1)
        axes.set_ylim(0.4, 1.005)
    axes.legend(fontsize=7, loc="lower left")
    figure.savefig(target, dpi=120)
    return target


def thinned(
    recall: np.ndarray[Any, Any], precision: np.ndarray[Any, Any], most: int = 200
) -> dict[str, list[float]]:
    """A curve's points, at most `most` of them, fit for JSON."""
    rows = np.unique(np.linspace(0, len(recall) - 1, most).astype(int)) if len(recall) else np.zeros(0, int)
    return {
        "recall": [round(float(recall[row]), 4) for row in rows],
        "precision": [round(float(precision[row]), 4) for row in rows],
    }

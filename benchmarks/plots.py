"""Pictures of what was measured: accuracy against time, and precision over recall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

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
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for number, (name, figures) in enumerate(accuracy.items()):
        if name not in milliseconds:
            continue
        look = {"marker": "o" if figures["ours"] else "s", "color": f"C{number}", "markersize": 8}
        tight = figures["tight"]
        if figures["judges_masks"]:
            left.plot(milliseconds[name], tight["map_two"], **look)
        right.plot(milliseconds[name], tight["face_ap"], label=name, linestyle="none", **look)
    left.set_ylabel("tight mAP50, with and without mask")
    right.set_ylabel("face AP50, whatever the label")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlim(min(milliseconds.values()) / 1.5, max(milliseconds.values()) * 1.5)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("ms a picture of 640 px, one thread")
        axes.grid(visible=True, which="both", alpha=0.2)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(target, dpi=120)
    return target


def _curves(accuracy: dict[str, Any], target: Path) -> Path:
    """Precision over recall for faces, with_mask and without_mask on the tight photos."""
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for axes, label in zip(panels, ("face", "with_mask", "without_mask"), strict=True):
        for number, (name, figures) in enumerate(accuracy.items()):
            if label != "face" and not figures["judges_masks"]:
                continue
            curve, width = figures["curves"][label], 2 if figures["ours"] else 1
            axes.plot(curve["recall"], curve["precision"], f"C{number}", label=name, linewidth=width)
        axes.set_title(label)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.grid(visible=True, alpha=0.2)
        axes.set_xlim(0.4, 1)
        axes.set_ylim(0.4, 1.005)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    figure.savefig(target, dpi=120)
    return target


def thinned(
    recall: np.ndarray[Any, Any], precision: np.ndarray[Any, Any], most: int = 200
) -> dict[str, list[float]]:
    """A curve's points, at most `most` of them and evenly along it, fit for JSON."""
    if not len(recall):
        return {"recall": [], "precision": []}
    steps = np.hypot(np.diff(recall, prepend=recall[0]), np.diff(precision, prepend=precision[0]))
    along = np.cumsum(steps)
    rows = np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)))
    return {
        "recall": [round(float(recall[row]), 4) for row in rows],
        "precision": [round(float(precision[row]), 4) for row in rows],
    }

"""Training curves as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from maskwatch.errors import MissingExtraError
from maskwatch.files import saving


def plot_run(curves: Path, holdout: Path, target: Path) -> None:
    """Draw losses (log scale) and, where there are any, the held-out figures over the steps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_extra("plotting curves", "matplotlib", "train") from error
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    losses, figures = figure.subplots(2, 1, sharex=True)
    rows = _columns(curves)
    for name in ("total", "box", "objectness", "label", "teacher"):
        if any(rows[name]):  # without a teacher, its loss is 0 throughout
            losses.semilogy(rows["step"], rows[name], label=name)
    losses.set_ylabel("loss")
    losses.legend()
    if holdout.is_file():
        rows = _columns(holdout)
        for name in ("map_two", "face_ap", "ap_with_mask", "ap_without_mask", "ap_mask_worn_incorrectly"):
            figures.plot(rows["step"], rows[name], marker=".", label=name)
        figures.legend()
    figures.set_ylabel("held-out AP at IoU 0.5")
    figures.set_xlabel("step")
    with saving(target, ending=".partial.png") as partial:
        figure.savefig(partial, dpi=110)


def _columns(path: Path) -> dict[str, list[float]]:
    """A CSV file of numbers by column name."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if None not in row.values()]  # a kill may have cut off the last
    return {name: [float(row[name]) for row in whole] for name in (rows[0] if rows else {})}

"""`maskwatch evaluate`: measure a detector on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from maskwatch.evaluate import Report


def evaluate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="COCO json, or folder with annotations.json.")],
    sets: options.Sets = None,
    iou: Annotated[
        float, typer.Option("--iou", min=0.05, max=0.95, help="Overlap from which a face counts as found.")
    ] = 0.5,
    json_file: options.JsonFile = None,
    plot: options.Plot = None,
    model: options.Model = None,
    max_side: options.PhotoSide = None,
    turned: options.Turned = True,
    device: options.Device = "cpu",
    quiet: options.Quiet = False,
) -> None:
    """Measure a detector: average precision, recall by face size, confusion, calibration.

    Average precision follows COCO; recall is taken at 0.1 false alarms a picture. Faces marked
    `ignore`, or smaller than 8 px, neither reward nor punish.
    """
    from rich.console import Console

    from maskwatch import datasets
    from maskwatch.detector import DetectOptions, Detector
    from maskwatch.evaluate import WHOLE_CURVE_SCORE
    from maskwatch.evaluate import evaluate as measure
    from maskwatch.pipeline import ordered_map

    images = datasets.of_sets(datasets.read_coco(data), sets, str(data))
    detect_options = DetectOptions(
        score_threshold=WHOLE_CURVE_SCORE, max_side=max_side, turned=turned, threads=1, device=device
    )
    detector = Detector(model, detect_options)
    console = Console(stderr=True)
    found = ordered_map(lambda image: detector.detect(image.path), images, workers=2)
    with progress_bar(console, quiet=quiet) as bar:
        detections = list(bar.track(found, total=len(images), description="Detecting"))
    report = measure(images, detections, iou=iou, score_threshold=detector.card.score_threshold)
    if json_file is not None:
        card = detector.card
        described = {"name": card.name, "version": card.version, "sha256": card.sha256}
        content = {"model": described, "data": str(data), "sets": sets, **report.to_dict()}
        write_json(json_file, content, sync=True)
    if plot is not None:
        _plot(report, plot)
    if not quiet:
        out = Console(stderr=json_file == "-")
        out.print(_table(report))
        out.print(_words(report), highlight=False, soft_wrap=True)


def _table(report: Report) -> Table:
    """Figures by label."""
    from rich.table import Table

    table = Table(title=f"{report.images} pictures, {sum(report.faces.values())} faces")
    buckets = list(next(iter(report.recall.values())))
    table.add_column("label")
    for name in ("faces", f"AP@{report.iou:g}", "AP@.5:.95", *(f"recall {bucket}" for bucket in buckets)):
        table.add_column(name, justify="right")
    for label, recall in report.recall.items():
        figures = [report.ap[label], report.ap_coco[label], *recall.values()]
        cells = ["–" if value != value else f"{value:.3f}" for value in figures]
        table.add_row(label, str(report.faces[label]), *cells)
    return table


def _words(report: Report) -> str:
    """Figures that belong to no single label."""
    return (
        f"mAP@{report.iou:g} of with_mask and without_mask {report.map_two:.4f}, "
        f"face AP {report.face_ap:.4f}\n"
        f"recall at 0.1 false alarms a picture (score ≥ {report.recall_threshold:.3f}), by face size in px\n"
        f"score ≥ {report.score_threshold:g}: precision {report.precision_found:.3f}, recall "
        f"{report.recall_found:.3f}, right label on {report.label_accuracy:.1%} of the faces found\n"
        f"true label by given label: {report.confusion}\n"
        f"expected calibration error {report.calibration_error:.4f}"
    )


def _plot(report: Report, target: Path) -> None:
    """Precision over recall, one line a label and one for faces."""
    from maskwatch.errors import MissingExtraError
    from maskwatch.files import saving

    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_extra("--plot", "matplotlib", "train") from error
    figure = Figure(figsize=(6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, curve in report.curves.items():
        if curve.truths:
            axes.plot(curve.recall, curve.precision, label=f"{name} {curve.average_precision:.3f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(title=f"AP at IoU {report.iou:g}", loc="lower left")
    with saving(target, ending=f".partial{target.suffix}") as partial:
        figure.savefig(partial, dpi=120)

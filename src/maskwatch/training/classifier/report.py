"""What a run leaves for people: report, curves, worst mistakes, model card."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch.class_folders import ClassFolders, contact_sheet
from maskwatch.codec import encode_image, read_picture
from maskwatch.errors import MissingExtraError
from maskwatch.files import saving, write_whole
from maskwatch.training.classifier.loop import Epoch

SHOWN = 24


@dataclass(frozen=True, eq=False)
class Scores:
    """Precision, recall and F1 by class, as scikit-learn's classification_report counts them.

    Attributes:
        classes: their names.
        confusion: (k, k) true class by given class.
    """

    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, classes: tuple[str, ...], true: npt.NDArray[np.int64], given: npt.NDArray[np.int64]
    ) -> Scores:
        """Count pairs of true and given class."""
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, (true, given), 1)
        return cls(classes, confusion)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        hits = np.diag(self.confusion)
        given, true = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        precision, recall = hits / np.maximum(given, 1), hits / np.maximum(true, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        return {
            "accuracy": round(self.accuracy, 6),
            "macro_f1": round(float(f1.mean()), 6),
            "classes": {
                name: {
                    "precision": round(float(precision[row]), 4),
                    "recall": round(float(recall[row]), 4),
                    "f1": round(float(f1[row]), 4),
                    "support": int(true[row]),
                }
                for row, name in enumerate(self.classes)
            },
            "confusion": self.confusion.tolist(),
        }


def report_text(report: dict[str, Any]) -> str:
    """`report.json` as Markdown."""
    test = report["test"]
    lines = [
        f"# {report['name']}: {test['accuracy']:.2%} right on {report['split']['test']} test pictures",
        "",
        "| class | precision | recall | F1 | pictures |",
        "|---|---|---|---|---|",
    ]
    for name, row in test["classes"].items():
        cells = " | ".join(f"{row[key]:.4f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {name} | {cells} | {row['support']} |")
    names = list(test["classes"])
    lines += ["", "True class by given class:", "", "| | " + " | ".join(names) + " |"]
    lines += ["|---" * (len(names) + 1) + "|"]
    for name, row in zip(names, test["confusion"], strict=True):
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + " |")
    lines += ["", *_sentences(report), ""]
    return "\n".join(lines)


def _sentences(report: dict[str, Any]) -> list[str]:
    """Data, split, effect of near-duplicates, time: a line each."""
    data, divided, spent = report["data"], report["split"], report["time"]
    counts = ", ".join(f"{name} {count}" for name, count in data["classes"].items())
    of_data = (
        f"Data: {data['pictures']} pictures ({counts}), {len(data['corrupt'])} unreadable, "
        f"{data['exact_duplicates']} exact and {data['near_duplicates']} near duplicates in "
        f"{data['near_duplicate_groups']} groups."
    )
    of_split = (
        f"Split: {divided['train']} to train, {divided['test']} to test, seed {report['config']['seed']}; "
        f"{divided['leaks']} test pictures have a near-duplicate among those trained on."
    )
    of_time = (
        f"Time: {spent['epochs']} epochs of {spent['epoch_s']:.1f} s (Keras {report['versions']['keras']} "
        f"on {report['versions']['backend']}), {spent['total_s']:.0f} s in all."
    )
    lines = [of_data, of_split]
    effect = divided.get("effect")
    if effect:
        lines.append(
            f"What near-duplicates do to a score (linear probe, mean of {effect['splits']} splits): "
            f"{effect['plain']:.2%} where they may lie on both sides ({effect['leaks']:.1f} of the test "
            f"pictures leak), {effect['together']:.2%} where they may not."
        )
    return [*lines, of_time, "Worst mistakes (or, without any, the least sure answers): mistakes.jpg."]


def card_text(report: dict[str, Any], onnx_name: str) -> str:
    """A model card as the Hugging Face hub reads it, with the limits first."""
    test = report["test"]
    classes = ", ".join(test["classes"])
    share = f"{test['accuracy']:.2%} on {report['split']['test']} pictures kept out of training"
    return f"""---
library_name: keras
tags: [face-mask-detection, image-classification]
metrics: [accuracy]
---
# {report["name"]}

Says of a face crop which of these it shows: {classes}. Made by `maskwatch train`.

**Accuracy:** {share}. It holds for pictures like those, and not for others: measure it on your own
with `maskwatch data crops` and `maskwatch data check`.

**Use:** `maskwatch image photo.jpg --classifier {onnx_name}`. Input: uint8 RGB crops of
{report["config"]["size_px"]} px; preprocessing is inside the ONNX file.

**Limits:** it sees crops, so a face that no detector finds stays unjudged; it gives one of its
classes to anything, faces or not; beards, hands and scarves are likely mistakes.

**Data:** {report["data"]["pictures"]} pictures from a folder; their rights are those of that folder.
The backbone is MobileNetV2 with ImageNet weights (Apache-2.0).

**Repeat it:** config.json, split.csv and report.json in this folder state options, pictures and
versions; the command was `{report["command"]}`.
"""


def plot(history: Sequence[Epoch], target: Path) -> None:
    """Loss and accuracy over the epochs, as the tutorial draws them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_extra("plotting curves", "matplotlib", "train") from error
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [epoch.number for epoch in history]
    for key, words in (
        ("loss", "train_loss"),
        ("val_loss", "val_loss"),
        ("accuracy", "train_acc"),
        ("val_accuracy", "val_acc"),
    ):
        axes.plot(numbers, [getattr(epoch, key) for epoch in history], label=words)
    axes.set(title="Training Loss and Accuracy", xlabel="Epoch #", ylabel="Loss/Accuracy", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    with saving(target, ending=f".partial{target.suffix or '.png'}") as partial:
        figure.savefig(partial, dpi=110)


def write_mistakes(
    data: ClassFolders,
    rows: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    target: Path,
) -> list[dict[str, Any]]:
    """Contact sheet of the worst answers on pictures `rows`; the list of what was really wrong."""
    true = data.targets[rows]
    given = probabilities.argmax(axis=1)
    of_true = probabilities[np.arange(len(rows)), true]
    worst = np.argsort(of_true)[:SHOWN]
    shown = []
    for at in worst:
        image = read_picture(data.pictures[int(rows[at])].path, needed_side=320).image
        mark = "WRONG " if given[at] != true[at] else ""
        words = f"{data.classes[true[at]]}\n{mark}{data.classes[given[at]]} {probabilities[at].max():.0%}"
        shown.append((image, words))
    write_whole(target, encode_image(contact_sheet(shown), ".jpg"))
    return [
        {
            "path": str(data.pictures[int(rows[at])].path),
            "true": data.classes[true[at]],
            "given": data.classes[given[at]],
            "probability": round(float(probabilities[at].max()), 4),
        }
        for at in worst
        if given[at] != true[at]
    ]


def write_split(data: ClassFolders, out: npt.NDArray[np.bool_], target: Path) -> None:
    """Which picture went where, as CSV."""
    with saving(target) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "part", "group", "sha256"])
        for picture, kept_out, group, digest in zip(
            data.pictures, out, data.groups, data.digests, strict=True
        ):
            name = picture.path.relative_to(data.root).as_posix()
            part = "test" if kept_out else "train"
            writer.writerow([name, data.classes[picture.class_index], part, int(group), digest])

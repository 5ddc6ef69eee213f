"""`maskwatch train`: train the tutorial's classifier on class folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, write_json

if TYPE_CHECKING:
    from typing import Any


def train(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder with a subfolder of pictures for each class.")
    ],
    output: options.RunFolder = Path("runs/classifier"),
    weights: Annotated[
        Optional[str],
        typer.Option(
            "--weights",
            metavar="FILE",
            help="MobileNetV2 weights without top; imagenet (downloads, the default) or random.",
        ),
    ] = None,
    model: Annotated[
        Optional[Path],
        typer.Option(
            "--keras-file",
            "--model",
            "-m",
            metavar="FILE",
            help="Where the Keras model goes (--model as in the tutorial); DIR/mask_detector.keras else.",
        ),
    ] = None,
    plot: options.Plot = None,
    labels: options.Labels = None,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Rounds over the pictures.")] = 20,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Pictures a step.")] = 32,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Of Adam at the start.")
    ] = 1e-4,
    test_share: options.TestShare = 0.2,
    seed: options.Seed = 42,
    size: Annotated[
        int, typer.Option("--size", metavar="PX", help="Side of the crops; a multiple of 32.")
    ] = 224,
    alpha: Annotated[float, typer.Option("--alpha", metavar="WIDTH", help="Width of MobileNetV2.")] = 1.0,
    dense_units: Annotated[int, typer.Option("--dense-units", metavar="N", help="Of the head.")] = 128,
    dropout: Annotated[float, typer.Option("--dropout", metavar="0..1", help="Of the head.")] = 0.5,
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Vary the pictures; without, seconds suffice.")
    ] = True,
    rotation: Annotated[float, typer.Option("--rotation", metavar="DEG", help="Turn up to this.")] = 20.0,
    zoom: Annotated[float, typer.Option("--zoom", metavar="0..1", help="Zoom by up to this share.")] = 0.15,
    shift: Annotated[float, typer.Option("--shift", metavar="0..1", help="Shift by up to this share.")] = 0.2,
    shear: Annotated[float, typer.Option("--shear", metavar="0..1", help="Shear by up to this.")] = 0.15,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror half of the pictures.")] = True,
    balance: Annotated[bool, typer.Option("--balance", help="Let each class count the same.")] = False,
    patience: Annotated[
        int, typer.Option("--patience", metavar="N", help="Stop after N epochs without gain; 0: never.")
    ] = 0,
    plain_split: Annotated[
        bool, typer.Option("--plain-split", help="Let near-duplicates lie on both sides, as others do.")
    ] = False,
    fine_tune: Annotated[
        int, typer.Option("--fine-tune", metavar="N", help="Afterwards let the last N blocks learn too.")
    ] = 0,
    fine_tune_epochs: Annotated[
        int, typer.Option("--fine-tune-epochs", metavar="N", help="Rounds of that.")
    ] = 5,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier of face crops: MobileNetV2 with the tutorial's head and defaults.

    Needs the extra `train`; KERAS_BACKEND chooses torch (default), tensorflow or jax. Writes the
    Keras model, its ONNX export, plot.png, report.md, mistakes.jpg and a model card. Interrupted,
    the same command goes on from the last epoch.
    """
    from maskwatch.errors import MissingExtraError

    try:
        from maskwatch.training.classifier import run as runs
        from maskwatch.training.classifier.config import ClassifierConfig
    except ImportError as error:
        raise MissingExtraError.for_extra("training", str(error.name), "train") from error

    config = ClassifierConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        test_share=test_share,
        seed=seed,
        keep_alike_together=not plain_split,
        size_px=size,
        alpha=alpha,
        dense_units=dense_units,
        dropout=dropout,
        augment=augment,
        rotation_deg=rotation,
        zoom=zoom,
        shift=shift,
        shear=shear,
        flip=flip,
        balance=balance,
        patience=patience,
        fine_tune_blocks=fine_tune,
        fine_tune_epochs=fine_tune_epochs,
    )
    usual = runs.ClassifierPaths.below(output)
    paths = runs.ClassifierPaths(output, model or usual.model, plot or usual.plot)
    _run(dataset, paths, config, weights, pairs(labels), quiet=quiet)
    files = {"model": paths.model, "onnx": paths.onnx, "plot": paths.plot, "report": output / "report.md"}
    write_json(json_file, {name: str(path) for name, path in files.items()})
    if not quiet:
        from rich.console import Console

        out = Console(stderr=json_file == "-")
        out.print((output / "report.md").read_text(), markup=False, highlight=False, soft_wrap=True)
        words = f"Model: {paths.model}\nONNX: {paths.onnx}\nReport: {output / 'report.md'}, {paths.plot}"
        if "" not in class_meanings(paths):
            words += f"\nUse it: maskwatch image photo.jpg --classifier {paths.onnx}"
        out.print(words, markup=False, highlight=False, soft_wrap=True)


def pairs(labels: list[str] | None) -> dict[str, str]:
    """`CLASS=LABEL` options as a dict.

    Raises:
        OptionError: one has no "=".
    """
    from maskwatch.errors import OptionError

    found = {}
    for text in labels or []:
        name, sign, label = text.partition("=")
        if not sign or not name:
            raise OptionError(f"--label {text}: write CLASS=LABEL, for example n95=with_mask")
        found[name] = label
    return found


def class_meanings(paths: Any) -> tuple[str, ...]:
    """Our labels of the exported model's classes."""
    from maskwatch.classifier import Classifier

    return Classifier(paths.onnx).card.labels


def _run(
    dataset: Path, paths: Any, config: Any, weights: str | None, labels: dict[str, str], *, quiet: bool
) -> None:
    """Train with a progress bar (lines, where there is no terminal) and an honest time to go."""
    from rich.console import Console

    from maskwatch.class_folders import report_words
    from maskwatch.training.classifier.loop import Epoch
    from maskwatch.training.classifier.run import Says, run

    console = Console(stderr=True)

    def say(words: str) -> None:
        if not quiet:
            console.print(words, markup=False, highlight=False, soft_wrap=True)

    def looked_through(report: dict[str, Any]) -> None:
        for line in report_words(report):
            say(line)

    def epoch_over(epoch: Epoch) -> None:
        val = f", val loss {epoch.val_loss:.4f}, val accuracy {epoch.val_accuracy:.4f}"
        left = max(0, config.epochs - epoch.number)
        to_go = f", about {left * epoch.seconds:.0f} s to go" if left else ""
        say(
            f"epoch {epoch.number}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}"
            f"{val if epoch.val_loss == epoch.val_loss else ''}, {epoch.seconds:.1f} s{to_go}"
        )

    with progress_bar(console, quiet=quiet) as bar:
        tasks: dict[str, Any] = {}

        def working(what: str, done: int, total: int) -> None:
            kind = what.partition(" ")[0]
            if kind not in tasks:
                tasks[kind] = bar.add_task(what, total=total)
            bar.update(tasks[kind], description=what, completed=done)

        says = Says(looked_through=looked_through, working=working, epoch=epoch_over)
        run(dataset, paths, config, weights=weights, labels=labels, says=says)

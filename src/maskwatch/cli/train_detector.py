"""`maskwatch train-detector`: train the one-stage detector on a COCO data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, write_json


def train_detector(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA", help="COCO json files, or folders with annotations.json."),
    ],
    sets: options.Sets = None,
    output: options.RunFolder = Path("runs/detector"),
    recipe: Annotated[
        Optional[Path],
        typer.Option("--recipe", "--config", metavar="FILE", help="How it is trained, as JSON."),
    ] = None,
    steps: Annotated[
        Optional[int], typer.Option("--steps", metavar="N", help="Optimiser steps, over the file's.")
    ] = None,
    init: Annotated[
        Optional[Path],
        typer.Option(
            "--init",
            metavar="FILE",
            help="Start from yunet_n.pth, MobileNetV2's .weights.h5 or one of our checkpoints.",
        ),
    ] = None,
    landmark_model: Annotated[
        Optional[Path],
        typer.Option(
            "--landmark-model", metavar="FILE", help="YuNet as ONNX; finds where to draw masks on faces."
        ),
    ] = None,
    corrections: Annotated[
        Optional[Path],
        typer.Option("--corrections", metavar="FILE", help="JSON that mends labels; see configs/README.md."),
    ] = None,
    teacher: Annotated[
        Optional[list[Path]],
        typer.Option(
            "--teacher",
            metavar="FILE",
            help="Checkpoint of ours to imitate beside the labels; several agree.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="PyTorch's threads; 0: all.")] = 0,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Train the one-stage detector and export it to ONNX.

    Needs the extra `train`. Interrupted with Ctrl-C or killed, the same command goes on from the
    last checkpoint. Curves, figures on held-out pictures and the model lie in the run folder.
    """
    import dataclasses

    from rich.console import Console

    from maskwatch.errors import MissingExtraError

    try:
        import torch
    except ImportError as error:
        raise MissingExtraError.for_extra("training", "PyTorch", "train") from error
    from maskwatch.evaluate import Report
    from maskwatch.training import loop
    from maskwatch.training.config import TrainConfig
    from maskwatch.training.plot import plot_run
    from maskwatch.training.run import RunPaths, run

    config = TrainConfig.from_file(recipe) if recipe else TrainConfig()
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    if threads:
        torch.set_num_threads(threads)
    paths = RunPaths(output)
    console = Console(stderr=True)
    with progress_bar(console, quiet=quiet, transient=False) as bar:
        task = bar.add_task("training", total=config.steps)

        def report(progress: loop.Progress) -> None:
            words = (
                f"loss {progress.total:.3f} (box {progress.box:.3f}, objectness {progress.objectness:.3f}, "
                f"label {progress.label:.3f}, teacher {progress.teacher:.3f}), {progress.step_s:.2f} s a step"
            )
            bar.update(task, completed=progress.step, description=words)
            if not (quiet or console.is_terminal):
                console.print(f"step {progress.step}/{progress.steps}: {words}", soft_wrap=True)

        def report_holdout(step: int, figures: Report) -> None:
            if quiet:
                return
            by_label = ", ".join(f"{name} {value:.3f}" for name, value in figures.ap.items())
            console.print(f"step {step}, held out: mAP {figures.map_two:.4f}, {by_label}", soft_wrap=True)

        model = run(
            data,
            paths,
            config,
            sets=sets,
            init=init,
            landmark_model=landmark_model,
            corrections=corrections,
            teachers=teacher or [],
            report=report,
            report_holdout=report_holdout,
        )
    plot_run(paths.curves, paths.holdout, paths.plot)
    write_json(json_file, {"model": str(model), "plot": str(paths.plot)})
    if not quiet:
        console.print(f"Model: {model}\nCurves: {paths.plot}", markup=False, highlight=False, soft_wrap=True)

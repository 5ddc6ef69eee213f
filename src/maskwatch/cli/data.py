"""`maskwatch data …`: make data sets, look through them, convert and divide them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.train import pairs

app = typer.Typer(
    name="data", help="Make data sets, look through them, convert and divide them.", no_args_is_help=True
)
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New folder for the result.")]
Margin = Annotated[
    float, typer.Option("--margin", metavar="SHARE", help="Crops reach this far beyond the face's box.")
]
LeastPx = Annotated[float, typer.Option("--least-px", metavar="PX", help="Leave out smaller faces.")]
Share = Annotated[float, typer.Option("--share", metavar="0..1", help="Share of the test part.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of all that is left to chance.")]
Labels = Annotated[
    Optional[list[str]],
    typer.Option("--label", metavar="NAME=LABEL", help="What a label means, e.g. n95=with_mask."),
]


@app.command()
def synthesize(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS...", help="Pictures of bare faces, globs, or folders.")
    ],
    output: Output = Path("synthesized"),
    incorrect: Annotated[
        bool, typer.Option("--incorrect", help="Also masks under the nose and on the chin.")
    ] = False,
    margin: Margin = 0.3,
    least_px: LeastPx = 48,
    seed: Seed = 42,
    model: options.Model = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw masks on bare faces: class folders to train on, as the tutorial's data set was made."""
    from maskwatch.curation import crops
    from maskwatch.detector import Detector
    from maskwatch.files import new_folder
    from maskwatch.sources.images import find_images

    files = find_images(paths)
    with new_folder(output) as folder, _bar("Drawing", quiet=quiet) as report:
        writer = crops.ClassWriter(folder)
        failed = crops.synthesize(
            files,
            Detector(model),
            writer,
            margin=margin,
            least_px=least_px,
            incorrect=incorrect,
            seed=seed,
            report=report,
        )
    _written(writer.counts, output, failed, quiet=quiet)


@app.command()
def check(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Class folders, or pictures with labels of any format.")
    ],
    sheet: Annotated[
        Optional[Path], typer.Option("--sheet", metavar="FILE", help="Draw samples on one picture.")
    ] = None,
    json_file: Annotated[
        Optional[Path], typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")
    ] = None,
    labels: Labels = None,
    quiet: options.Quiet = False,
) -> None:
    """Look through a data set: counts, sizes, unreadable files, duplicates, labels, samples."""
    import json

    from maskwatch.codec import encode_image
    from maskwatch.curation import check as checks
    from maskwatch.files import write_whole

    with _bar("Looking through", quiet=quiet) as report:
        if _is_class_folders(source):
            from maskwatch.class_folders import read_class_folders, report_words

            folders = read_class_folders(source, report=report)
            figures = folders.report()
            words, sample = report_words(figures), checks.sample_sheet(folders)
        else:
            from maskwatch.curation.convert import read_labels

            images = read_labels(source, labels=pairs(labels))
            figures = checks.check_labels(images, report)
            words, sample = checks.label_words(figures), checks.sample_sheet(images)
    if json_file is not None:
        write_whole(json_file, json.dumps(figures, indent=1) + "\n")
    if sheet is not None:
        write_whole(sheet, encode_image(sample, sheet.suffix))
    _say("\n".join(words), quiet=quiet)


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of pictures and labels, or a file.")
    ],
    output: Output = Path("converted"),
    kind: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="voc (AIZOO, Kaggle), yolo, coco; auto finds out.")
    ] = "auto",
    labels: Labels = None,
    quiet: options.Quiet = False,
) -> None:
    """Turn Pascal VOC, YOLO or COCO labels, under any known names, into a COCO folder of ours."""
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.convert import LABEL_FORMATS, read_labels
    from maskwatch.errors import OptionError

    if kind not in LABEL_FORMATS:
        raise OptionError(f"--from {kind}: choose one of {', '.join(LABEL_FORMATS)}")
    with _bar("Reading", quiet=quiet) as report:
        images = read_labels(source, kind, labels=pairs(labels), report=report)
    target = write_coco(images, output)
    faces = sum(len(image.faces) for image in images)
    _say(f"{len(images)} pictures with {faces} faces written to {target}", quiet=quiet)


@app.command()
def label(
    source: Annotated[Path, typer.Argument(metavar="FOLDERS", help="Class folders of one face a picture.")],
    output: Output = Path("labelled"),
    set_name: Annotated[str, typer.Option("--set", metavar="NAME", help="Name of the data set.")] = "",
    model: options.Model = None,
    quiet: options.Quiet = False,
) -> None:
    """Find the face in each picture of class folders: a COCO folder to train the detector on.

    The folder gives the label, the detector the box. Pictures without one clearly largest face are
    left out and counted.
    """
    from maskwatch.class_folders import read_class_folders
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.label import label_class_folders
    from maskwatch.detector import Detector

    with _bar("Looking", quiet=quiet) as report:
        folders = read_class_folders(source)
        images, without = label_class_folders(folders, Detector(model), set_name=set_name, report=report)
    target = write_coco(images, output)
    _say(f"{len(images)} pictures written to {target}, {len(without)} without one clear face", quiet=quiet)
    if not images:
        raise typer.Exit(1)


@app.command("crops")
def crops_(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="A labelled data set; or pictures, globs, folders."),
    ],
    output: Output = Path("crops"),
    margin: Margin = 0.3,
    least_px: LeastPx = 16,
    model: options.Model = None,
    labels: Labels = None,
    quiet: options.Quiet = False,
) -> None:
    """Cut faces out into class folders: labelled faces by their label, others by the detector's verdict.

    The detector's folders are a start for sorting by hand, no truth.
    """
    from maskwatch.curation import crops
    from maskwatch.curation.convert import read_labels
    from maskwatch.detector import Detector
    from maskwatch.files import new_folder
    from maskwatch.sources.images import find_images

    failed: list[str] = []
    with new_folder(output) as folder, _bar("Cutting", quiet=quiet) as report:
        writer = crops.ClassWriter(folder)
        if len(sources) == 1 and _is_labelled(Path(sources[0])):
            images = read_labels(Path(sources[0]), labels=pairs(labels))
            crops.crops_of_labels(images, writer, margin=margin, least_px=least_px, report=report)
        else:
            files = find_images(sources)
            detector = Detector(model)
            failed = crops.crops_of_found(
                files, detector, writer, margin=margin, least_px=least_px, report=report
            )
    _written(writer.counts, output, failed, quiet=quiet)


@app.command()
def split(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Class folders, or labelled pictures.")],
    output: Output = Path("divided"),
    share: Share = 0.2,
    seed: Seed = 42,
    labels: Labels = None,
    quiet: options.Quiet = False,
) -> None:
    """Divide a data set into train and test; near-duplicates stay on one side."""
    from maskwatch.curation import check as checks
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.convert import read_labels
    from maskwatch.errors import OptionError
    from maskwatch.files import new_folder

    if not 0 < share < 1:
        raise OptionError(f"--share must lie between 0 and 1, not {share:g}")
    with new_folder(output) as folder, _bar("Looking through", quiet=quiet) as report:
        if _is_class_folders(source):
            from maskwatch.class_folders import read_class_folders

            folders = read_class_folders(source, report=report)
            counts = checks.split_folders(folders, folder, share=share, seed=seed)
        else:
            images = read_labels(source, labels=pairs(labels))
            train, test = checks.split_labelled(images, share=share, seed=seed, report=report)
            for name, part in (("train", train), ("test", test)):
                write_coco(part, folder / name)
            counts = {"train": len(train), "test": len(test)}
    _say(f"{counts['train']} pictures to train, {counts['test']} to test in {output}", quiet=quiet)


def _is_labelled(source: Path) -> bool:
    """Whether a path holds labels: a COCO file, or pictures with .xml or .txt files."""
    if source.suffix.lower() == ".json" or (source / "annotations.json").is_file():
        return True
    return source.is_dir() and any(next(source.rglob(f"*{end}"), None) for end in (".xml", ".txt"))


def _is_class_folders(source: Path) -> bool:
    return source.is_dir() and not _is_labelled(source)


@contextlib.contextmanager
def _bar(words: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; gives what reports done and total."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    task_name = TextColumn("{task.description}", markup=False)
    columns = (task_name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(words: str, *, quiet: bool) -> None:
    from rich.console import Console

    from maskwatch.cli.terminal import say

    if not quiet:
        say(Console(stderr=True), words)


def _written(counts: dict[str, int], folder: Path, failed: list[str], *, quiet: bool) -> None:
    """Say what was written and what was not; nothing at all is a failure."""
    for words in failed:
        _say(f"maskwatch: {words}", quiet=False)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no faces"
    _say(f"{told} written to {folder}", quiet=quiet)
    if failed or not counts:
        raise typer.Exit(1)

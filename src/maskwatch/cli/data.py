"""`maskwatch data …`: make data sets, look through them, convert and divide them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, write_json
from maskwatch.cli.train import pairs

app = typer.Typer(
    name="data", help="Make data sets, look through them, convert and divide them.", no_args_is_help=True
)


@app.command()
def synthesize(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Pictures of bare faces, globs, or folders.")
    ],
    output: options.NewFolder = Path("synthesized"),
    incorrect: Annotated[
        bool, typer.Option("--incorrect", help="Also masks under the nose and on the chin.")
    ] = False,
    margin: options.Margin = 0.3,
    least_px: options.LeastPx = 48,
    seed: options.Seed = 42,
    model: options.Model = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw masks on bare faces: class folders to train on, as the tutorial's data set was made."""
    from maskwatch.curation import crops
    from maskwatch.detector import DetectOptions, Detector
    from maskwatch.files import new_folder
    from maskwatch.sources.images import find_images

    files = find_images(paths)
    with new_folder(output) as folder, _bar("Drawing", quiet=quiet) as report:
        writer = crops.ClassWriter(folder)
        failed = crops.synthesize(
            files,
            Detector(model, DetectOptions(device=device)),
            writer,
            margin=margin,
            least_px=least_px,
            incorrect=incorrect,
            seed=seed,
            report=report,
        )
    _written(writer.counts, output, failed, json_file, quiet=quiet)


@app.command()
def check(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Class folders, or pictures with labels of any format.")
    ],
    sheet: Annotated[
        Optional[Path], typer.Option("--sheet", metavar="FILE", help="Draw samples on one picture.")
    ] = None,
    json_file: options.JsonFile = None,
    labels: options.Labels = None,
    quiet: options.Quiet = False,
) -> None:
    """Look through a data set: counts, sizes, unreadable files, duplicates, labels, samples."""
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
    write_json(json_file, figures)
    if sheet is not None:
        write_whole(sheet, encode_image(sample, sheet.suffix))
    _say("\n".join(words), quiet=quiet)


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of pictures and labels, or a file.")
    ],
    output: options.NewFolder = Path("converted"),
    kind: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="voc (AIZOO, Kaggle), yolo, coco; auto finds out.")
    ] = "auto",
    labels: options.Labels = None,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Turn Pascal VOC, YOLO or COCO labels, under any known names, into a COCO folder of ours."""
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.convert import LABEL_FORMATS, read_labels
    from maskwatch.errors import OptionError
    from maskwatch.suggest import did_you_mean

    if kind not in LABEL_FORMATS:
        means = did_you_mean(kind, LABEL_FORMATS)
        raise OptionError(f"--from {kind}: choose one of {', '.join(LABEL_FORMATS)}{means}")
    with _bar("Reading", quiet=quiet) as report:
        images = read_labels(source, kind, labels=pairs(labels), report=report)
    target = write_coco(images, output)
    faces = sum(len(image.faces) for image in images)
    write_json(json_file, {"output": str(target), "pictures": len(images), "faces": faces})
    _say(f"{len(images)} pictures with {faces} faces written to {target}", quiet=quiet)


@app.command()
def label(
    source: Annotated[Path, typer.Argument(metavar="FOLDERS", help="Class folders of one face a picture.")],
    output: options.NewFolder = Path("labelled"),
    set_name: Annotated[str, typer.Option("--set", metavar="NAME", help="Name of the data set.")] = "",
    model: options.Model = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Find the face in each picture of class folders: a COCO folder to train the detector on.

    The folder gives the label, the detector the box. Pictures without one clearly largest face are
    left out and counted.
    """
    from maskwatch.class_folders import read_class_folders
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.label import label_class_folders
    from maskwatch.detector import DetectOptions, Detector

    with _bar("Looking", quiet=quiet) as report:
        folders = read_class_folders(source)
        images, without = label_class_folders(
            folders, Detector(model, DetectOptions(device=device)), set_name=set_name, report=report
        )
    target = write_coco(images, output)
    write_json(
        json_file, {"output": str(target), "pictures": len(images), "without_one_clear_face": len(without)}
    )
    _say(f"{len(images)} pictures written to {target}, {len(without)} without one clear face", quiet=quiet)
    if not images:
        raise typer.Exit(1)


@app.command("crops")
def crops_(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="A labelled data set; or pictures, globs, folders."),
    ],
    output: options.NewFolder = Path("crops"),
    margin: options.Margin = 0.3,
    least_px: options.LeastPx = 16,
    model: options.Model = None,
    device: options.Device = "cpu",
    labels: options.Labels = None,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Cut faces out into class folders: labelled faces by their label, others by the detector's verdict.

    The detector's folders are a start for sorting by hand, no truth.
    """
    from maskwatch.curation import crops
    from maskwatch.curation.convert import read_labels
    from maskwatch.detector import DetectOptions, Detector
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
            detector = Detector(model, DetectOptions(device=device))
            failed = crops.crops_of_found(
                files, detector, writer, margin=margin, least_px=least_px, report=report
            )
    _written(writer.counts, output, failed, json_file, quiet=quiet)


@app.command()
def split(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Class folders, or labelled pictures.")],
    output: options.NewFolder = Path("divided"),
    test_share: options.TestShare = 0.2,
    seed: options.Seed = 42,
    labels: options.Labels = None,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Divide a data set into train and test; near-duplicates stay on one side."""
    from maskwatch.curation import check as checks
    from maskwatch.curation.coco_folder import write_coco
    from maskwatch.curation.convert import read_labels
    from maskwatch.errors import OptionError
    from maskwatch.files import new_folder

    if not 0 < test_share < 1:
        raise OptionError(f"--test-share must lie between 0 and 1, not {test_share:g}")
    with new_folder(output) as folder, _bar("Looking through", quiet=quiet) as report:
        if _is_class_folders(source):
            from maskwatch.class_folders import read_class_folders

            folders = read_class_folders(source, report=report)
            counts = checks.split_folders(folders, folder, share=test_share, seed=seed)
        else:
            images = read_labels(source, labels=pairs(labels))
            train, test = checks.split_labelled(images, share=test_share, seed=seed, report=report)
            for name, part in (("train", train), ("test", test)):
                write_coco(part, folder / name)
            counts = {"train": len(train), "test": len(test)}
    write_json(json_file, {"output": str(output), "pictures": counts})
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

    with progress_bar(Console(stderr=True), quiet=quiet) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(words: str, *, quiet: bool) -> None:
    from rich.console import Console

    from maskwatch.cli.terminal import say

    if not quiet:
        say(Console(stderr=True), words)


def _written(
    counts: dict[str, int], folder: Path, failed: list[str], json_file: str | None, *, quiet: bool
) -> None:
    """Say what was written and what was not; nothing at all is a failure."""
    write_json(json_file, {"output": str(folder), "faces": counts, "failed": failed})
    for words in failed:
        _say(f"maskwatch: {words}", quiet=False)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no faces"
    _say(f"{told} written to {folder}", quiet=quiet)
    if failed or not counts:
        raise typer.Exit(1)

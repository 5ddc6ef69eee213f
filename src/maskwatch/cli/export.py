"""`maskwatch export`: a Keras classifier as files that run without Keras; the page as a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import write_json


def export(
    model: Annotated[
        Optional[Path],
        typer.Argument(
            metavar="MODEL",
            help="A .keras or .h5 file, or the tutorial's .model; with --web, a detector (.onnx).",
        ),
    ] = None,
    output: Annotated[
        Optional[Path], typer.Option("--output", "-o", metavar="FILE", help="MODEL with .onnx by default.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Write a quantised FILE-int8.onnx too.")] = False,
    litert: Annotated[
        bool, typer.Option("--litert", help="Write a FILE.tflite too; needs TensorFlow.")
    ] = False,
    pictures: Annotated[
        Optional[Path],
        typer.Option("--pictures", metavar="DIR", help="Crops to calibrate INT8 and to compare with."),
    ] = None,
    classes: Annotated[
        Optional[str],
        typer.Option("--classes", metavar="A,B", help="Classes of the outputs, in order."),
    ] = None,
    labels: options.Labels = None,
    size: Annotated[
        Optional[int],
        typer.Option("--size", metavar="PX", help="Side of the crops, where it is open."),
    ] = None,
    margin: options.Margin = 0.3,
    input_range: Annotated[
        str,
        typer.Option(
            "--input-range", metavar="RANGE", help="Pixels as the model wants them: -1..1, 0..1 or 0..255."
        ),
    ] = "-1..1",
    web: Annotated[
        Optional[Path],
        typer.Option("--web", metavar="DIR", help="Write the page for detection in the browser, instead."),
    ] = None,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Convert a Keras classifier to ONNX (INT8 and LiteRT too), and compare their answers.

    Nothing stored in the file is run: layers that hold code are refused. The ONNX file takes uint8
    RGB crops and carries its classes, so `--classifier` needs no more. With --web, no classifier is
    converted: the page that detects in the browser is written as a folder for any web host.
    """
    from rich.console import Console

    from maskwatch.cli.train import pairs
    from maskwatch.errors import MissingExtraError, OptionError

    if web is not None:
        _export_page(web, model, json_file, quiet=quiet)
        return
    if model is None:
        raise OptionError("name the classifier to convert, or --web DIR for the page")
    try:
        from maskwatch.training.classifier import export as exports
        from maskwatch.training.classifier.meaning import class_labels
    except ImportError as error:
        raise MissingExtraError.for_extra("exporting", str(error.name), "train") from error
    from maskwatch.classifier import Classifier

    target = output or model.with_suffix(".onnx")
    told = pairs(labels)
    named = None if classes is None else tuple(name.strip() for name in classes.split(","))
    paths = exports.find_pictures(pictures)
    card = exports.export_onnx(
        model,
        target,
        classes=named,
        labels=lambda names: class_labels(names, told),
        size_px=size,
        margin=margin,
        input_range=input_range,
    )
    images = exports.samples(paths, card)
    wanted = Classifier(target).probabilities(images)
    made = [exports.compare(target, wanted, images)]
    if int8:
        small = target.with_name(target.stem + "-int8.onnx")
        exports.quantize(target, small, images)
        made.append(exports.compare(small, wanted, images))
    if litert:
        made.append(exports.export_litert(model, target.with_suffix(".tflite"), images, wanted))
    files = [
        {
            "path": str(one.path),
            "bytes": one.size_bytes,
            "same_class": one.agreement,
            "pictures": one.pictures,
        }
        for one in made
    ]
    write_json(json_file, {"classes": card.classes, "labels": card.labels, "files": files})
    if quiet:
        return
    out = Console(stderr=json_file == "-")

    def say(words: str) -> None:
        out.print(words, markup=False, highlight=False, soft_wrap=True)

    meanings = ", ".join(
        name if name == label else f"{name} = {label or 'no label'}"
        for name, label in zip(card.classes, card.labels, strict=True)
    )
    say(f"{target}: {card.size_wh[0]} px, classes {meanings}")
    for one in made[1:]:
        say(
            f"{one.path}: {one.size_bytes:,} bytes ({made[0].size_bytes:,} as ONNX), same class on "
            f"{one.agreement:.1%} of {one.pictures} pictures, probabilities differ by "
            f"{one.mean_difference:.4f} on average and {one.largest_difference:.4f} at most"
        )
    if not paths and (int8 or litert):
        say("The pictures were random; name crops of faces with --pictures for a true comparison.")


def _export_page(folder: Path, model: Path | None, json_file: str | None, *, quiet: bool) -> None:
    """Write the page with the packaged detectors, or with one's own."""
    from rich.console import Console

    from maskwatch.web.site import export_site

    site = export_site(folder, () if model is None else (model,))
    megabytes = sum(site.sizes.values()) / 1e6
    write_json(json_file, {"folder": str(folder), "files": site.sizes, "missing": site.missing})
    if quiet:
        return
    out = Console(stderr=json_file == "-")
    out.print(f"{folder}: {len(site.sizes)} files, {megabytes:.1f} MB", markup=False, highlight=False)
    if site.missing:
        out.print(f"maskwatch: {site.missing}: the page can be opened, but detects nothing", markup=False)

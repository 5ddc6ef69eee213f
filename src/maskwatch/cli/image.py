"""`maskwatch image`: find faces in picture files and say who wears a mask."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, say


def image(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Pictures, globs, or folders (searched through).")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for annotated copies.")
    ] = Path("maskwatch-out"),
    json_file: options.JsonFile = None,
    csv_file: Annotated[
        Optional[str], typer.Option("--csv", metavar="FILE", help="Write a row a face; - prints them.")
    ] = None,
    annotated: options.Annotate = True,
    save_crops: Annotated[
        bool, typer.Option("--save-crops", help="Save each face in DIR/crops/VERDICT/.")
    ] = False,
    blur: options.Blur = False,
    score_threshold: options.ScoreThreshold = None,
    max_side: options.PhotoSide = None,
    turned: options.Turned = True,
    model: options.Model = None,
    classifier: options.Classifier = None,
    face_detector: options.FaceDetector = None,
    device: options.Device = "cpu",
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Find faces in pictures and say of each whether a mask is worn.

    Annotated copies go to a folder, results to JSON or CSV, a summary to standard error. A picture
    that cannot be read is named, the others go on, and the exit code is 1.
    """
    from rich.console import Console

    from maskwatch.detector import DetectOptions
    from maskwatch.pipeline import ImageResult, detect_files
    from maskwatch.pipeline.stages import load_stages
    from maskwatch.sinks.image_files import AnnotatedImages
    from maskwatch.sinks.tables import CsvFile, JsonFile
    from maskwatch.sources.images import find_images
    from maskwatch.summary import Summary

    detect_options = DetectOptions(
        score_threshold=score_threshold, max_side=max_side, turned=turned, threads=1, device=device
    )
    detector = load_stages(model, detect_options, classifier, face_detector)
    files = find_images(paths)
    copies = AnnotatedImages(output, files, annotated=annotated, blur=blur, crops=save_crops)

    def write_copy(result: ImageResult) -> None:
        copies.write(result.file, result.detections)

    console = Console(stderr=True)
    progress = progress_bar(console, quiet=quiet)
    summary = Summary()
    with contextlib.ExitStack() as stack:
        tables: list[JsonFile | CsvFile] = []
        if json_file:
            tables.append(stack.enter_context(JsonFile(json_file, detector.card)))
        if csv_file:
            tables.append(stack.enter_context(CsvFile(csv_file)))
        stack.enter_context(progress)
        task = progress.add_task("Detecting", total=len(files))
        for result in detect_files(files, detector, write_copy, workers=threads):
            for table in tables:
                table.write(result.file.path, result.detections, result.error)
            if result.error is not None:
                summary = summary.add_failure()
                say(console, f"maskwatch: {result.error}")
            else:
                summary = summary.add(result.detections)
            progress.advance(task)
    if not quiet:
        console.print(str(summary), highlight=False, soft_wrap=True)
        if annotated or blur or save_crops:
            say(console, f"Written to {output}")
    if summary.failed or not files:
        if not files:
            console.print("maskwatch: no pictures found; name files, globs or folders", highlight=False)
        raise typer.Exit(1)

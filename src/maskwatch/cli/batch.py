"""`maskwatch batch`: many pictures, on one machine or a cluster, into Parquet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, write_json

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from typing_extensions import Self

    from maskwatch.batch.job import Progress

LINE_EVERY_S = 30.0


def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Folders, globs, pictures, a list (.txt, a path a line), Parquet files with image bytes, "
            "or addresses: s3://, gs:// … .",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help="Folder or address for the results.")
    ],
    workers: Annotated[
        str, typer.Option("--workers", metavar="N|auto", help="Detectors at work; auto: one a core.")
    ] = "auto",
    local: Annotated[
        bool, typer.Option("--local", help="Processes of this machine, without Ray; the same results.")
    ] = False,
    address: options.RayAddress = None,
    part_size: Annotated[
        int, typer.Option("--part-size", metavar="N", min=1, help="Pictures in one file of the results.")
    ] = 500,
    json_file: options.JsonFile = None,
    annotated: options.Annotate = False,
    blur: options.Blur = False,
    score_threshold: options.ScoreThreshold = None,
    max_side: options.PhotoSide = None,
    turned: options.Turned = True,
    model: options.Model = None,
    classifier: options.Classifier = None,
    face_detector: options.FaceDetector = None,
    quiet: options.Quiet = False,
) -> None:
    """Find faces in very many pictures and write Parquet: a row a picture, and a row a face.

    OUT/images/ and OUT/faces/ grow part by part; OUT/manifest.json is written at the end. Run the same
    command again after any interruption: parts that are done are not done twice. A picture that
    cannot be read is a row with an error.
    """
    from rich.console import Console

    from maskwatch.addresses import redact
    from maskwatch.batch import BatchOptions, run_batch
    from maskwatch.batch.job import Workers

    count = _count(workers)
    batch_options = BatchOptions(
        model=model,
        classifier=classifier,
        face_detector=face_detector,
        score_threshold=score_threshold,
        max_side=max_side,
        turned=turned,
        annotated=annotated,
        blur=blur,
        part_size=part_size,
    )
    console = Console(stderr=True)
    try:
        with _Bar(console, quiet=quiet) as bar:
            report = run_batch(inputs, output, batch_options, Workers(count, local, address), report=bar.show)
        write_json(json_file, {"output": redact(output), "summary": report.summary.to_dict()})
        if not quiet:
            console.print(str(report.summary), highlight=False, soft_wrap=True)
            console.print(bar.words(report), highlight=False, soft_wrap=True)
            console.print(f"Written to {redact(output)}", markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("maskwatch: interrupted; the same command goes on where it stopped", highlight=False)
        raise typer.Exit(130) from None


def _count(workers: str) -> int | None:
    """The number of workers, None for auto."""
    from maskwatch.errors import OptionError

    if workers == "auto":
        return None
    if not workers.isdigit() or int(workers) < 1:
        raise OptionError(f"--workers must be a number from 1 on, or auto, not {workers}")
    return int(workers)


class _Bar:
    """Progress, pictures a second and time left: a bar on a terminal, a line now and then elsewhere.

    A context manager.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        from rich.progress import TextColumn

        self._console, self._quiet = console, quiet
        self._began: float | None = None
        self._line_at = 0.0
        speed = TextColumn("{task.fields[rate]:.1f} images/s")
        self._bar = progress_bar(console, speed, quiet=quiet)
        self._task = self._bar.add_task("Detecting", total=None, rate=0.0)

    def show(self, progress: Progress) -> None:
        """What is done by now."""
        now = time.monotonic()
        if self._began is None:
            self._began = self._line_at = now
            self._bar.start()
            if progress.found and not self._quiet:
                words = f"{progress.found} of {progress.pictures} pictures were done before; going on"
                self._console.print(words, highlight=False)
        self._bar.update(
            self._task, total=progress.pictures, completed=progress.done, rate=self._rate(progress)
        )
        if not self._quiet and not self._console.is_terminal and now - self._line_at >= LINE_EVERY_S:
            self._line_at = now
            self._console.print(self.words(progress), highlight=False, soft_wrap=True)

    def words(self, progress: Progress) -> str:
        """The same as a line."""
        rate = self._rate(progress)
        left = progress.pictures - progress.done
        ends = f", {left / rate:.0f} s left" if left and rate else ""
        return f"{progress.done} of {progress.pictures} pictures, {rate:.1f} images/s{ends}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()  # leaves the terminal as it was

    def _rate(self, progress: Progress) -> float:
        elapsed_s = time.monotonic() - (self._began or time.monotonic())
        return (progress.done - progress.found) / elapsed_s if elapsed_s > 0 else 0.0

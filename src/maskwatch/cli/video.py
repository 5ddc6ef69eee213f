"""`maskwatch video`: follow the people in video files and write annotated copies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.terminal import progress_bar, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from maskwatch.events import Happening
    from maskwatch.pipeline import VideoStep


def video(
    paths: Annotated[list[Path], typer.Argument(metavar="VIDEO", help="Videos or animated GIFs.")],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File (.mp4, .mkv, .mov, .gif), or folder for several videos; maskwatch-out by default.",
        ),
    ] = None,
    annotated: Annotated[
        bool,
        typer.Option(
            "--annotated/--no-annotated", " /--no-video", help="Write copies with boxes drawn on them."
        ),
    ] = True,
    json_file: Annotated[
        Optional[Path],
        typer.Option("--json", metavar="FILE", help="A JSON line a frame and a person."),
    ] = None,
    events: Annotated[
        Optional[Path],
        typer.Option("--events", metavar="FILE", help="Events as JSON lines, or as .csv."),
    ] = None,
    rules: options.RulesFile = None,
    every: Annotated[
        Optional[int],
        typer.Option(
            "--every",
            metavar="N",
            help="Look at every Nth frame, follow in between.",
            show_default="12.5 times a second; 1 with --blur",
        ),
    ] = None,
    start: Annotated[
        Optional[str], typer.Option("--start", metavar="TIME", help="Begin here: seconds or hh:mm:ss.")
    ] = None,
    end: Annotated[
        Optional[str], typer.Option("--end", metavar="TIME", help="Stop here: seconds or hh:mm:ss.")
    ] = None,
    rotate: options.Rotate = 0,
    blur: options.Blur = False,
    score_threshold: options.ScoreThreshold = None,
    max_side: options.MaxSide = 1024,
    model: options.Model = None,
    classifier: options.Classifier = None,
    face_detector: options.FaceDetector = None,
    device: options.Device = "cpu",
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Follow the people in videos: who wears a mask, since when.

    The copy keeps the frames' exact times, the sound and the rotation. Ctrl-C finishes the file with
    what was done so far. A video that cannot be read is named, the others go on, exit code 1.
    """
    import contextlib

    from rich.console import Console
    from rich.progress import TextColumn

    from maskwatch.addresses import printable
    from maskwatch.errors import MaskwatchError
    from maskwatch.events import Event, Rules
    from maskwatch.pipeline import ClipOptions, WatchOptions, process_clip
    from maskwatch.pipeline.stages import load_tracking
    from maskwatch.rules_file import read_rules
    from maskwatch.sinks.lines import JsonLines, open_events

    detector, track_options = load_tracking(
        model, score_threshold, max_side, classifier, face_detector, device=device
    )
    clip_options = ClipOptions(
        every=every,
        start_s=parse_time(start),
        end_s=parse_time(end),
        rotate=rotate,
        blur=blur,
        watch=WatchOptions(
            rules=read_rules(rules) if rules else Rules(without_mask_s=None), track=track_options
        ),
        workers=threads,
    )
    targets = copy_targets(paths, output) if annotated else [None] * len(paths)
    console = Console(stderr=True)
    failed = False
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(JsonLines(json_file)) if json_file else None
        event_lines = stack.enter_context(open_events(events)) if events else None
        fps = TextColumn("{task.fields[fps]:.1f} fps")
        bar = stack.enter_context(progress_bar(console, fps, quiet=quiet))

        def on_step(step: VideoStep) -> None:
            if lines is not None:
                frame = step.frame
                lines.write_frame(frame, step.detections, looked=step.looked)

        def on_event(event: Happening) -> None:
            if lines is not None and isinstance(event, Event) and event.kind == "end":
                lines.write_track(event)
            if event_lines is not None:
                event_lines.write(event)

        for path, target in zip(paths, targets, strict=True):
            task = bar.add_task(printable(path.name), total=None, fps=0.0)

            def report(frames: int, expected: int | None, fps: float, task: TaskID = task) -> None:
                bar.update(task, completed=frames, total=expected, fps=fps)

            try:
                summary = process_clip(
                    path, target, detector, clip_options, on_step=on_step, on_event=on_event, report=report
                )
            except MaskwatchError as error:
                failed = True
                say(console, f"maskwatch: {error}")
                continue
            finally:
                bar.remove_task(task)
            if not quiet:
                say(console, f"{path}: {summary}")
                if target is not None:
                    say(console, f"Written to {target}")
    if failed:
        raise typer.Exit(1)


def copy_targets(paths: list[Path], output: Path | None) -> list[Path | None]:
    """Where the copy of each video goes: the file named, or a folder that holds them all.

    Raises:
        OptionError: several videos cannot go to one file.
    """
    from maskwatch.errors import OptionError
    from maskwatch.files import is_folder, same_file

    if output is not None and output.suffix and not is_folder(output):
        if len(paths) > 1:
            raise OptionError(f"{output}: {len(paths)} videos cannot go to one file; name a folder")
        return [output]
    folder = output or Path("maskwatch-out")
    targets: list[Path | None] = []
    for path in paths:
        target, number = folder / f"{path.stem}.mp4", 1
        while target in targets or same_file(target, path):
            number += 1
            target = folder / f"{path.stem}-{number}.mp4"
        targets.append(target)
    return targets


def parse_time(text: str | None) -> float | None:
    """Seconds from "12.5", "1:30" or "1:02:03.5".

    Raises:
        OptionError: it is none of these.
    """
    from maskwatch.errors import OptionError

    if text is None:
        return None
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise OptionError(f"{text!r} is no time; write seconds (12.5) or hours:minutes:seconds (1:02:03)")
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds

"""`maskwatch live`: watch cameras, show them on a page, tell receivers what happens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.tracking import load_tracking
from maskwatch.cli.watching import name_apart, open_deliveries, stopped_by_signals, teller

if TYPE_CHECKING:
    from rich.console import Console

    from maskwatch.frames import Image
    from maskwatch.pipeline import CameraStatus, Delivery, LiveStep
    from maskwatch.sources.camera import Camera

STATUS_EVERY_S = 0.5
STATUS_LINE_EVERY_S = 10.0
RECORDING_BEHIND = 8


def live(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Camera number (0), /dev/video device, rtsp://, rtmp:// or http:// address, video file.",
        ),
    ],
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where the page is served.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the page; 0: any free one.")
    ] = 8350,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page.")] = True,
    window: Annotated[
        bool, typer.Option("--window", help="Show the picture in a window too; q ends the program.")
    ] = False,
    record: Annotated[
        Optional[Path],
        typer.Option(
            "--record", metavar="OUT", help="Record annotated video: a file, or a folder for several cameras."
        ),
    ] = None,
    sinks: Annotated[
        Optional[list[str]],
        typer.Option(
            "--sink",
            metavar="TO",
            help="Send events here, again and again: FILE.jsonl, FILE.csv, FILE.db (SQLite), postgresql://, "
            "mqtt://, https:// (webhook), apprise:… .",
        ),
    ] = None,
    rules: options.RulesFile = None,
    aggregate_only: options.AggregateOnly = False,
    aggregate_every: options.AggregateEvery = 60.0,
    keep_days: options.KeepDays = None,
    spool: Annotated[
        Optional[Path],
        typer.Option("--spool", metavar="DIR", help="Where events wait for receivers that are away."),
    ] = None,
    duration: Annotated[
        Optional[float], typer.Option("--duration", metavar="S", min=0.1, help="Stop after so many seconds.")
    ] = None,
    loop: options.Loop = False,
    blur: Annotated[
        bool,
        typer.Option("--blur", help="Make faces unrecognisable on the page, in the window and recording."),
    ] = False,
    score_threshold: options.ScoreThreshold = None,
    max_side: options.MaxSide = 640,
    model: options.Model = None,
    classifier: options.Classifier = None,
    face_detector: options.FaceDetector = None,
    quiet: options.Quiet = False,
) -> None:
    """Watch cameras: who wears a mask, since when, and what to be told of.

    Opens a page on this machine with pictures, counts and compliance over time, and prints a status
    line. A camera that is lost is shown as lost and connected again. No picture is stored unless
    --record asks for it.
    """
    from rich.console import Console

    from maskwatch.errors import OptionError
    from maskwatch.events import Rules
    from maskwatch.pipeline import WatchOptions, watch_cameras
    from maskwatch.rules_file import read_rules
    from maskwatch.sources.camera import Camera, CameraOptions

    if aggregate_only and (record or window):
        raise OptionError("--aggregate-only shows and keeps no pictures; leave out --record and --window")
    detector, track_options = load_tracking(model, score_threshold, max_side, classifier, face_detector)
    watch_options = WatchOptions(
        rules=read_rules(rules) if rules else Rules(),
        track=track_options,
        aggregate_every_s=aggregate_every,
        aggregate_only=aggregate_only,
    )
    cameras = [Camera(source, CameraOptions(loop=loop)) for source in sources]
    name_apart(cameras)
    console = Console(stderr=True)
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        deliveries = [stack.enter_context(one) for one in open_deliveries(sinks or [], spool, keep_days)]
        showers: list[Callable[[LiveStep], None]] = [teller(deliveries)]
        if record is not None:
            showers.append(stack.enter_context(_recording(record, cameras, blur=blur)))
        if page:
            from maskwatch.web.live_page import LivePage

            shown = stack.enter_context(LivePage(host, port, pictures=not aggregate_only, blur=blur))
            showers.append(shown.show)
            if not quiet:
                console.print(f"The page: {shown.url}", highlight=False, soft_wrap=True)
        if window:
            showers.append(stack.enter_context(_window(stop, blur=blur)))
        if not quiet:
            showers.append(stack.enter_context(_status_line(console, deliveries)))
        stack.enter_context(stopped_by_signals(stop))

        def on_step(step: LiveStep) -> None:
            for show in showers:
                show(step)

        statuses = watch_cameras(
            cameras, detector, on_step, options=watch_options, duration_s=duration, stop=stop
        )
    if not quiet:
        for status in statuses:
            console.print(_farewell(status), markup=False, highlight=False, soft_wrap=True)
        for delivery in deliveries:
            console.print(_delivered(delivery), markup=False, highlight=False, soft_wrap=True)
    if any(status.looked == 0 for status in statuses):
        never = ", ".join(status.name for status in statuses if status.looked == 0)
        console.print(f"maskwatch: not one picture came from {never}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


@contextlib.contextmanager
def _recording(target: Path, cameras: list[Camera], *, blur: bool) -> Iterator[Callable[[LiveStep], None]]:
    """Writes what is seen to files, in a thread of its own; what it cannot keep up with is left out."""
    from fractions import Fraction

    from maskwatch.errors import OptionError
    from maskwatch.pipeline import Background
    from maskwatch.sinks.mqtt import slug_of
    from maskwatch.sinks.video_file import VideoWriter

    is_file = bool(target.suffix) and not target.is_dir()
    if is_file and len(cameras) > 1:
        raise OptionError(f"{target}: {len(cameras)} cameras cannot be recorded to one file; name a folder")
    unit, rate = Fraction(1, 1000), Fraction(15)
    with contextlib.ExitStack() as stack:
        writers = {}
        for camera in cameras:
            path = target if is_file else target / f"{slug_of(camera.name)}.mp4"
            writers[camera.name] = stack.enter_context(VideoWriter(path, rate=rate, time_base=unit))

        def work(step: LiveStep) -> None:
            assert step.frame is not None
            writers[step.camera].write(_drawn(step, blur=blur), step.frame.pts_s)

        background = stack.enter_context(Background(work, size=RECORDING_BEHIND))

        def record(step: LiveStep) -> None:
            if step.frame is not None:
                background.offer(step)

        yield record


@contextlib.contextmanager
def _window(stop: threading.Event, *, blur: bool) -> Iterator[Callable[[LiveStep], None]]:
    """Shows the newest picture of whichever camera has one."""
    from maskwatch.sinks.window import Window

    with Window("maskwatch live") as shown:

        def show(step: LiveStep) -> None:
            if step.frame is not None and not shown.show(_drawn(step, blur=blur)):
                stop.set()

        yield show


@contextlib.contextmanager
def _status_line(console: Console, deliveries: list[Delivery]) -> Iterator[Callable[[LiveStep], None]]:
    """One line that is rewritten, or, where there is no terminal, a line now and then and at changes."""
    from rich.live import Live
    from rich.text import Text

    states: dict[str, CameraStatus] = {}
    told: dict[str, tuple[str, float]] = {}
    last = -STATUS_EVERY_S
    with contextlib.ExitStack() as stack:
        line = None
        if console.is_terminal:
            line = stack.enter_context(Live(Text(""), console=console, auto_refresh=False, transient=True))

        def show(step: LiveStep) -> None:
            nonlocal last
            states[step.camera] = step.status
            now = time.monotonic()
            if line is not None:
                if now - last >= STATUS_EVERY_S or step.frame is None:
                    last = now
                    words = [status.words() for status in states.values()]
                    words += [
                        f"{one.receiver.name}: {one.waiting} events waiting ({one.last_error})"
                        for one in deliveries
                        if one.last_error
                    ]
                    line.update(Text("\n".join(words)), refresh=True)
                return
            state, at = told.get(step.camera, ("", -STATUS_LINE_EVERY_S))
            if step.status.state != state or now - at >= STATUS_LINE_EVERY_S:
                told[step.camera] = (step.status.state, now)
                console.print(step.status.words(), markup=False, highlight=False, soft_wrap=True)

        yield show


def _drawn(step: LiveStep, *, blur: bool) -> Image:
    from maskwatch.annotate import annotate, blur_faces

    assert step.frame is not None
    image = blur_faces(step.frame.image, step.detections) if blur else step.frame.image
    return annotate(image, step.detections)


def _farewell(status: CameraStatus) -> str:
    losses = f", lost {status.losses}× for {status.lost_s:.1f} s" if status.losses else ""
    share = "–" if status.compliance is None else f"{status.compliance:.0%}"
    return (
        f"{status.name}: {status.looked} pictures looked at, {status.dropped} dropped{losses}, "
        f"{status.alerts} alerts, compliance {share}, latency "
        f"{status.latency_p50_s * 1e3:.0f} ms (95 %: {status.latency_p95_s * 1e3:.0f} ms)"
    )


def _delivered(delivery: Delivery) -> str:
    parts = [f"{delivery.receiver.name}: {delivery.delivered} events delivered"]
    if delivery.waiting:
        parts.append(f"{delivery.waiting} wait for the next start ({delivery.last_error})")
    if delivery.rejected:
        parts.append(f"{delivery.rejected} refused ({delivery.last_error})")
    if delivery.spool.dropped:
        parts.append(f"{delivery.spool.dropped} dropped")
    return ", ".join(parts)

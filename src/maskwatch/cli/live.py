"""`maskwatch live`: watch cameras, show them on a page, tell receivers what happens."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.addresses import printable
from maskwatch.cli import options
from maskwatch.cli.signals import stopped_by_signals
from maskwatch.cli.terminal import say
from maskwatch.cli.watching import name_apart

if TYPE_CHECKING:
    from rich.console import Console

    from maskwatch.pipeline import CameraStatus, LiveStep
    from maskwatch.sources.camera import Camera

STATUS_EVERY_S = 0.5
STATUS_LINE_EVERY_S = 10.0
RECORDING_BEHIND = 8
ALARM_AGAIN_S = 60.0


def live(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Camera number (0), /dev/video device, rtsp://, rtmp:// or http:// address, video file.",
        ),
    ],
    host: options.Host = "127.0.0.1",
    port: options.Port = 8350,
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
    duration: options.Duration = None,
    loop: options.Loop = False,
    rotate: options.Rotate = 0,
    blur: options.Blur = False,
    score_threshold: options.ScoreThreshold = None,
    max_side: options.MaxSide = 640,
    model: options.Model = None,
    classifier: options.Classifier = None,
    face_detector: options.FaceDetector = None,
    device: options.Device = "cpu",
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
    from maskwatch.pipeline import WatchOptions, open_deliveries, teller, watch_cameras
    from maskwatch.pipeline.stages import load_tracking
    from maskwatch.rules_file import read_rules
    from maskwatch.sources.camera import Camera, CameraOptions

    if aggregate_only and (record or window):
        raise OptionError("--aggregate-only shows and keeps no pictures; leave out --record and --window")
    detector, track_options = load_tracking(
        model, score_threshold, max_side, classifier, face_detector, device=device
    )
    watch_options = WatchOptions(
        rules=read_rules(rules) if rules else Rules(),
        track=track_options,
        aggregate_every_s=aggregate_every,
        aggregate_only=aggregate_only,
    )
    cameras = [Camera(source, CameraOptions(loop=loop, rotate=rotate)) for source in sources]
    name_apart(cameras)
    console = Console(stderr=True)
    folder = spool or Path(typer.get_app_dir("maskwatch")) / "spool"
    stop = threading.Event()
    troubles: list[Callable[[], str]] = []
    with contextlib.ExitStack() as stack:
        deliveries = [stack.enter_context(one) for one in open_deliveries(sinks or [], folder, keep_days)]
        showers: list[Callable[[LiveStep], None]] = [teller(deliveries)]
        troubles += [functools.partial(getattr, delivery, "trouble") for delivery in deliveries]
        if record is not None:
            showers.append(stack.enter_context(_recording(record, cameras, troubles, blur=blur)))
        if not console.is_terminal:  # an alarm is said even where no status is wanted
            showers += [_alarm(console, trouble) for trouble in troubles]
        if page:
            from maskwatch.web.live_page import LOOPBACK, LivePage

            shown = stack.enter_context(
                LivePage(host, port, pictures=not aggregate_only, blur=blur, troubles=troubles)
            )
            showers.append(shown.show)
            if not quiet:
                say(console, f"The page: {shown.url}")
            if host not in LOOPBACK:
                say(console, f"maskwatch: whoever reaches {host} sees this page; put a login before it")
        if window:
            showers.append(stack.enter_context(_window(stop, blur=blur)))
        if not quiet:
            showers.append(stack.enter_context(_status_line(console, troubles)))
        stack.enter_context(stopped_by_signals(stop))

        def on_step(step: LiveStep) -> None:
            for show in showers:
                show(step)

        statuses = watch_cameras(
            cameras, detector, on_step, options=watch_options, duration_s=duration, stop=stop
        )
    if not quiet:
        for status in statuses:
            say(console, status.farewell())
        for delivery in deliveries:
            say(console, delivery.words())
    if any(status.looked == 0 for status in statuses):
        never = ", ".join(status.name for status in statuses if status.looked == 0)
        say(console, f"maskwatch: not one picture came from {never}; check the address and the network")
        raise typer.Exit(1)


@contextlib.contextmanager
def _recording(
    target: Path, cameras: list[Camera], troubles: list[Callable[[], str]], *, blur: bool
) -> Iterator[Callable[[LiveStep], None]]:
    """Writes what is seen to files, in a thread of its own; what it cannot keep up with is left out."""
    from maskwatch.errors import OptionError
    from maskwatch.files import is_folder, portable_name
    from maskwatch.pipeline import Background, drawn
    from maskwatch.sinks.mqtt import slug_of
    from maskwatch.sinks.recorder import Recorder

    is_file = bool(target.suffix) and not is_folder(target)
    if is_file and len(cameras) > 1:
        raise OptionError(f"{target}: {len(cameras)} cameras cannot be recorded to one file; name a folder")
    with contextlib.ExitStack() as stack:
        recorders: dict[str, Recorder] = {}
        for camera in cameras:
            path = target if is_file else target / portable_name(f"{slug_of(camera.name)}.mp4")
            recorders[camera.name] = stack.enter_context(Recorder(path))
        troubles.append(lambda: "; ".join(one.trouble for one in recorders.values() if one.trouble))

        def work(step: LiveStep) -> None:
            assert step.frame is not None
            recorders[step.camera].write(drawn(step, blur=blur), step.frame.pts_s)

        background = stack.enter_context(Background(work, size=RECORDING_BEHIND))

        def record(step: LiveStep) -> None:
            if step.frame is not None:
                background.offer(step)

        yield record


@contextlib.contextmanager
def _window(stop: threading.Event, *, blur: bool) -> Iterator[Callable[[LiveStep], None]]:
    """Shows the newest picture of whichever camera has one."""
    from maskwatch.pipeline import drawn
    from maskwatch.sinks.window import Window

    with Window("maskwatch live") as shown:

        def show(step: LiveStep) -> None:
            if step.frame is not None and not shown.show(drawn(step, blur=blur)):
                stop.set()

        yield show


@contextlib.contextmanager
def _status_line(console: Console, troubles: list[Callable[[], str]]) -> Iterator[Callable[[LiveStep], None]]:
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
                    words += [f"ALARM: {printable(trouble())}" for trouble in troubles if trouble()]
                    line.update(Text("\n".join(words)), refresh=True)
                return
            state, at = told.get(step.camera, ("", -STATUS_LINE_EVERY_S))
            if step.status.state != state or now - at >= STATUS_LINE_EVERY_S:
                told[step.camera] = (step.status.state, now)
                say(console, step.status.words())

        yield show


def _alarm(console: Console, trouble: Callable[[], str]) -> Callable[[LiveStep], None]:
    """Says in a log that nothing is stored any more, again now and then, and when it is over."""
    said, at = "", 0.0
    over = "maskwatch: the alarm is over, all is stored again"

    def tell(_: LiveStep) -> None:
        nonlocal said, at
        words, now = trouble(), time.monotonic()
        if bool(words) == bool(said) and (not words or now - at < ALARM_AGAIN_S):
            return
        say(console, f"maskwatch: ALARM: {words}" if words else over)
        said, at = words, now

    return tell

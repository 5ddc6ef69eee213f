"""`maskwatch serve`: the HTTP interface, the page and the dashboard on one port."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.signals import stopped_by_signals
from maskwatch.cli.terminal import say
from maskwatch.cli.watching import name_apart

if TYPE_CHECKING:
    from maskwatch.classifier import TwoStage
    from maskwatch.detector import Detector
    from maskwatch.pipeline import LiveStep, WatchOptions
    from maskwatch.sinks.event_store import EventStore
    from maskwatch.sources.camera import CameraOptions
    from maskwatch.tracker import TrackOptions
    from maskwatch.web.streams import BoardFeed, CameraFeed

KEY_VARIABLE = "MASKWATCH_API_KEY"
CAMERA_SIDE = 640
"""Cameras' pictures are scaled down to this side, as `maskwatch live` does."""


def serve(
    host: options.Host = "127.0.0.1",
    port: options.Port = 8360,
    sources: Annotated[
        Optional[list[str]],
        typer.Option(
            "--source", metavar="SOURCE", help="Watch this camera, as `maskwatch live` does; may be repeated."
        ),
    ] = None,
    live: Annotated[
        Optional[str],
        typer.Option("--live", metavar="URL", help="Show the cameras of a running `maskwatch live`."),
    ] = None,
    events: Annotated[
        Optional[str],
        typer.Option(
            "--events",
            metavar="TO",
            help="Database of events: a FILE.db or postgresql://. Cameras of --source write to it; without "
            "it, their events are forgotten at the end.",
        ),
    ] = None,
    rules: options.RulesFile = None,
    aggregate_only: options.AggregateOnly = False,
    aggregate_every: options.AggregateEvery = 60.0,
    keep_days: options.KeepDays = None,
    loop: options.Loop = False,
    rotate: options.Rotate = 0,
    blur: options.Blur = False,
    model: options.Model = None,
    classifier: options.Classifier = None,
    device: options.Device = "cpu",
    api_key_file: Annotated[
        Optional[Path],
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help=f"Ask callers for the key in this file; {KEY_VARIABLE} in the environment does the same.",
        ),
    ] = None,
    cors_origins: Annotated[
        Optional[list[str]],
        typer.Option(
            "--cors-origin", metavar="ORIGIN", help="Let pages of https://HOST call; may be repeated."
        ),
    ] = None,
    max_picture: Annotated[
        float, typer.Option("--max-picture", metavar="MIB", help="Largest encoded picture.")
    ] = 20,
    max_pixels: Annotated[
        float, typer.Option("--max-pixels", metavar="MILLIONS", help="Most pixels of a picture or video.")
    ] = 50,
    max_video: Annotated[float, typer.Option("--max-video", metavar="MIB", help="Largest video.")] = 512,
    max_waiting: Annotated[
        int,
        typer.Option("--max-waiting", metavar="N", help="Requests of pictures in the house; more get a 429."),
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", help="Longest time for a request of pictures.")
    ] = 30,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Serve the HTTP interface, a page for pictures and webcams, and a dashboard for cameras.

    Only this machine can reach it unless --host says otherwise; then ask for a key, and put a proxy
    with TLS in front. Documentation of the interface is at /docs.
    """
    from rich.console import Console

    from maskwatch.errors import MissingExtraError, OptionError

    try:
        from maskwatch.web.limits import MIB, Limits
        from maskwatch.web.serving import ServeOptions, serving
    except ImportError as error:
        raise MissingExtraError.for_extra("serving", str(error.name), "web") from error
    from maskwatch.classifier import Classifier, TwoStage
    from maskwatch.closer import FIRST_SIDE
    from maskwatch.detector import DetectOptions, Detector
    from maskwatch.pipeline.stages import load_tracking
    from maskwatch.sources.camera import CameraOptions

    if live is not None and sources:
        raise OptionError("--source and --live both name cameras; leave one out")
    limits = Limits(
        picture_bytes=round(max_picture * MIB),
        body_bytes=round(max(max_picture * MIB, Limits.body_bytes)),
        waiting_bytes=round(max(max_picture * MIB, Limits.waiting_bytes)),
        pixels=round(max_pixels * 1e6),
        video_bytes=round(max_video * MIB),
        waiting=max_waiting,
        timeout_s=timeout,
        workers=threads,
    )
    serve_options = ServeOptions(
        host, port, _key(api_key_file), tuple(cors_origins or ()), limits, () if model is None else (model,)
    )
    detector = Detector(model, DetectOptions(threads=1, device=device))
    clip_detector, _ = load_tracking(model, None, FIRST_SIDE, classifier, device=device)
    stages = TwoStage(detector, Classifier(classifier, threads=1)) if classifier else None
    console, stop = Console(stderr=True), threading.Event()

    with contextlib.ExitStack() as stack:
        stack.enter_context(stopped_by_signals(stop))
        feed: CameraFeed | None = None
        store: EventStore | None = None
        if sources:
            watch_options = _watch_options(rules, aggregate_every, only_sums=aggregate_only)
            feed, events = stack.enter_context(
                _cameras(
                    sources,
                    watch_options,
                    CameraOptions(loop=loop, rotate=rotate),
                    partial(load_tracking, model, None, CAMERA_SIDE, classifier, device=device),
                    events,
                    keep_days,
                    blur=blur,
                )
            )
        elif live is not None:
            from maskwatch.web.relay import RelayedFeed

            feed = RelayedFeed(live)
        if events is not None:
            store = _store(events)
            stack.callback(store.close)
        server = stack.enter_context(
            serving(detector, clip_detector, serve_options, cameras=feed, events=store, stages=stages)
        )
        if not quiet:
            say(console, f"The page: {server.url}")
            cameras = f"Cameras: {server.url}dashboard"
            say(console, cameras if feed else "No cameras: name some with --source or --live")
        if serve_options.api_key is None and not serve_options.access.checks_host:
            say(
                console,
                f"maskwatch: anyone who reaches {host} may use this server; --api-key-file asks for a key",
            )
        while not stop.wait(0.5):
            if not server.is_running:
                raise typer.Exit(1)


def _key(path: Path | None) -> str | None:
    """The API key from a file, or from the environment."""
    from maskwatch.errors import OptionError
    from maskwatch.files import LARGEST_SETTINGS_BYTES, read_text
    from maskwatch.web.access import key_of

    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        return key_of(read_text(path, LARGEST_SETTINGS_BYTES).splitlines())
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: the API key cannot be read ({error}); check the path") from error


def _watch_options(rules: Path | None, aggregate_every_s: float, *, only_sums: bool) -> WatchOptions:
    from maskwatch.events import Rules
    from maskwatch.pipeline import WatchOptions
    from maskwatch.rules_file import read_rules

    return WatchOptions(
        rules=read_rules(rules) if rules else Rules(),
        aggregate_every_s=aggregate_every_s,
        aggregate_only=only_sums,
    )


@contextlib.contextmanager
def _cameras(
    sources: list[str],
    watch_options: WatchOptions,
    camera_options: CameraOptions,
    load: Callable[[], tuple[Detector | TwoStage, TrackOptions]],
    events: str | None,
    keep_days: float | None,
    *,
    blur: bool,
) -> Iterator[tuple[BoardFeed, str]]:
    """Watch cameras in the background: what viewers can see of them, and where their events are kept.

    `load` gives the detector, or two stages, and how people are followed.
    """
    from maskwatch.pipeline.delivery import open_deliveries, teller
    from maskwatch.sources.camera import Camera
    from maskwatch.web.board import Board
    from maskwatch.web.serving import watching
    from maskwatch.web.streams import BoardFeed

    detector, track_options = load()
    cameras = [Camera(source, camera_options) for source in sources]
    name_apart(cameras)
    with contextlib.ExitStack() as stack:
        spool = Path(typer.get_app_dir("maskwatch")) / "spool"
        if events is None:
            spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskwatch-events-")))
            events = str(spool / "events.db")
        deliveries = [stack.enter_context(one) for one in open_deliveries([events], spool, keep_days)]
        tell = teller(deliveries)
        troubles = [partial(getattr, delivery, "trouble") for delivery in deliveries]
        board = Board(pictures=not watch_options.aggregate_only, blur=blur, troubles=troubles)

        def on_step(step: LiveStep) -> None:
            tell(step)
            board.show(step)

        chosen = replace(watch_options, track=track_options)
        stack.enter_context(watching(cameras, detector, chosen, on_step))
        yield BoardFeed(board), events


def _store(address: str) -> EventStore:
    from maskwatch.addresses import redact
    from maskwatch.errors import OptionError
    from maskwatch.sinks.event_store import EventStore
    from maskwatch.sinks.receivers import database_url

    url = database_url(address)
    if url is None:
        raise OptionError(f"{redact(address)}: no database; name a FILE.db or postgresql://HOST/NAME")
    return EventStore(url)

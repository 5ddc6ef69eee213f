"""`maskwatch watch` and `maskwatch doctor`: many cameras from one file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from maskwatch.cli import options
from maskwatch.cli.signals import stopped_by_signals
from maskwatch.cli.terminal import say, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from maskwatch.pipeline import CameraStatus
    from maskwatch.watch.config import WatchConfig
    from maskwatch.watch.reload import ConfigFile

STATUS_EVERY_S = 10.0
TICK_S = 1.0

Cameras = Annotated[
    Path, typer.Argument(metavar="CAMERAS.toml", help="What is watched, and how; see docs/scale.md.")
]


def watch(
    cameras: Cameras,
    workers: Annotated[
        Optional[int],
        typer.Option("--workers", metavar="N", min=1, help="Detectors at work; one a core by default."),
    ] = None,
    address: options.RayAddress = None,
    duration: options.Duration = None,
    quiet: options.Quiet = False,
) -> None:
    """Watch many cameras, each with its own rules, zones, receivers and frame rate.

    Cameras that are added to the file, changed or taken out are followed, changed or left at once
    (SIGHUP: now). One that is lost or sends too much harms no other. Check the file, cameras and
    receivers first: `maskwatch doctor CAMERAS.toml`.
    """
    from rich.console import Console

    from maskwatch.watch.reload import ConfigFile

    console = Console(stderr=True)
    stop, reload = threading.Event(), threading.Event()
    file = ConfigFile(cameras, reload)
    spool = file.current.spool or Path(typer.get_app_dir("maskwatch")) / "spool"
    run = _watch_here if address is None else _watch_on_cluster
    command = _Watch(console, spool, workers, address, duration, quiet)
    statuses, lines = run(file, command, stop, reload)
    if not quiet:
        for line in [*(status.farewell() for status in statuses), *lines]:
            say(console, line)
    never = [status.name for status in statuses if status.looked == 0]
    if never:
        say(console, f"maskwatch: not one picture came from {', '.join(never)}")
    if len(never) == len(statuses):
        raise typer.Exit(1)


def doctor(
    cameras: Annotated[
        Optional[Path], typer.Argument(metavar="CAMERAS.toml", help="Check its cameras and receivers too.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", "--patience", metavar="S", min=0.1, help="How long a camera or receiver may take."
        ),
    ] = 10.0,
    json_file: options.JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Check model, decoders, cameras, broker and database, and say what to fix; exit code 1 if any fails.

    With --quiet, only what fails is said.
    """
    from rich.console import Console

    from maskwatch.watch.config import read_config
    from maskwatch.watch.doctor import examine

    config = None if cameras is None else read_config(cameras)
    console = Console(stderr=json_file == "-")
    findings = []
    for finding in examine(config, patience_s=timeout):
        findings.append(finding)
        if not (quiet and finding.is_well):
            say(console, f"{'ok  ' if finding.is_well else 'FAIL'} {finding.subject}: {finding.words}")
    failed = sum(not finding.is_well for finding in findings)
    checks = [{"subject": one.subject, "ok": one.is_well, "words": one.words} for one in findings]
    write_json(json_file, {"ok": failed == 0, "checks": checks})
    if failed:
        say(Console(stderr=True), f"maskwatch: {failed} checks failed; see above what to do")
        raise typer.Exit(1)


class _Watch:
    """What the command was told."""

    def __init__(
        self,
        console: Console,
        spool: Path,
        workers: int | None,
        address: str | None,
        duration_s: float | None,
        quiet: bool,
    ) -> None:
        self.console, self.spool, self.workers = console, spool, workers
        self.address, self.duration_s, self.quiet = address, duration_s, quiet
        self._told_at = time.monotonic()

    def say(self, lines: Iterable[str]) -> None:
        """What changed."""
        for line in lines:
            say(self.console, line)

    def news(self, file: ConfigFile) -> WatchConfig | None:
        """The configuration if it changed; one that cannot be used is named, and the last one stays."""
        from maskwatch.errors import OptionError

        try:
            return file.changed()
        except OptionError as error:
            self.say([f"maskwatch: {error}; the cameras stay as they were"])
            return None

    def tell(self, statuses: Iterable[CameraStatus]) -> None:
        """A line a camera, now and then."""
        if not self.quiet and time.monotonic() - self._told_at >= STATUS_EVERY_S:
            self._told_at = time.monotonic()
            self.say(status.words() for status in statuses)


def _watch_here(
    file: ConfigFile, command: _Watch, stop: threading.Event, reload: threading.Event
) -> tuple[list[CameraStatus], list[str]]:
    """Watch in this process; what cameras and receivers came to."""
    import os

    from maskwatch.pipeline.stages import load_tracking
    from maskwatch.watch.session import Session

    config = file.current
    detector, track = load_tracking(
        config.detector.model,
        config.detector.score_threshold,
        config.detector.max_side,
        config.detector.classifier,
    )
    rounds = (command.workers or os.cpu_count() or 1, config.detector.at_once)
    with (
        stopped_by_signals(stop, reload),
        Session(detector, track, command.spool, keep_days=config.keep_days, rounds=rounds) as session,
    ):
        command.say(session.apply(config.cameras))

        def between() -> None:
            fresh = command.news(file)
            if fresh is not None:
                command.say(session.apply(fresh.cameras))
            command.tell(session.statuses)

        session.run(stop=stop, duration_s=command.duration_s, until_ended=True, between=between)
    return session.statuses, [delivery.words() for delivery in session.deliveries]


def _watch_on_cluster(
    file: ConfigFile, command: _Watch, stop: threading.Event, reload: threading.Event
) -> tuple[list[CameraStatus], list[str]]:
    """Watch on the hosts of a Ray cluster; what cameras and receivers came to."""
    from maskwatch.watch.supervisor import Supervisor

    assert command.address is not None
    ends = float("inf") if command.duration_s is None else time.monotonic() + command.duration_s
    supervisor = Supervisor(file.current, command.spool, address=command.address, hosts=command.workers)
    with stopped_by_signals(stop, reload), supervisor:  # after the start of Ray, which takes SIGTERM
        supervisor.apply(file.current.cameras)
        while not stop.is_set() and time.monotonic() < ends:
            supervisor.tick()
            fresh = command.news(file)
            if fresh is not None:
                supervisor.apply(fresh.cameras)
            words, supervisor.words = supervisor.words, []
            command.say(words)
            command.tell(supervisor.statuses)
            stop.wait(min(TICK_S, max(0.0, ends - time.monotonic())))
    lines = [line for report in supervisor.reports for line in report.deliveries]
    return supervisor.statuses, lines

"""`serving`: starts all parts of the server in order, and stops them in the other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskwatch._version import __version__
from maskwatch.classifier import TwoStage
from maskwatch.pipeline import DetectsFaces, LiveStep, WatchOptions, watch_cameras
from maskwatch.sinks.event_store import EventStore
from maskwatch.sources.camera import Camera
from maskwatch.web.access import Access
from maskwatch.web.app import create_app
from maskwatch.web.batching import Batcher, DetectsTogether
from maskwatch.web.gate import Gate
from maskwatch.web.limits import Limits
from maskwatch.web.live_page import LOOPBACK
from maskwatch.web.meters import Meters
from maskwatch.web.models import OfferedModels
from maskwatch.web.server import WebServer
from maskwatch.web.service import Service
from maskwatch.web.streams import BoardFeed, CameraFeed
from maskwatch.web.videos import VideoJobs


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, and to whom.

    Attributes:
        host, port: the address; port 0 takes a free one.
        api_key: what callers must show; None: nothing.
        cors_origins: pages of other hosts that may call.
        limits: how much callers may ask.
        models: detectors that browsers may load; none: those in the package.
    """

    host: str = "127.0.0.1"
    port: int = 8360
    api_key: str | None = None
    cors_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    models: tuple[Path, ...] = ()

    @property
    def access(self) -> Access:
        """Who may ask.

        Raises:
            OptionError: the key is too short, or an origin is none.
        """
        return Access(self.api_key, self.cors_origins, checks_host=self.host in LOOPBACK)


@contextlib.contextmanager
def serving(
    detector: DetectsTogether,
    clip_detector: DetectsFaces,
    options: ServeOptions | None = None,
    *,
    cameras: CameraFeed | None = None,
    events: EventStore | None = None,
    stages: TwoStage | None = None,
) -> Iterator[WebServer]:
    """Serve until the block is left: `detector` looks at pictures, `clip_detector` at videos.

    With `stages`, its classifier labels the faces in pictures.

    Raises:
        SourceError: the port is taken, or the address is not this machine's.
        OptionError: the key is too short, or an origin is none.
        ModelError: a model that is to be offered is none of ours.
    """
    options = options or ServeOptions()
    limits, gate = options.limits, Gate(options.limits)
    meters = Meters(detector.card, gate, __version__)
    if isinstance(cameras, BoardFeed):
        meters.watch(cameras.board)
    batcher = Batcher(
        detector,
        workers=limits.worker_count,
        together=limits.together,
        together_px=limits.together_px,
        on_batch=meters.note_batch,
        stages=stages,
    )
    videos = VideoJobs(clip_detector, limits)
    service = Service(
        batcher=batcher,
        videos=videos,
        models=OfferedModels(options.models),
        limits=limits,
        gate=gate,
        meters=meters,
        access=options.access,
        cameras=cameras,
        events=events,
    )
    server = WebServer(create_app(service), options.host, options.port)
    with batcher, videos, server:
        try:
            yield server
        finally:
            if cameras is not None:
                cameras.stop()  # streams never end by themselves


@contextlib.contextmanager
def watching(
    cameras: Sequence[Camera],
    detector: DetectsFaces,
    options: WatchOptions,
    on_step: Callable[[LiveStep], None],
) -> Iterator[threading.Thread]:
    """Follow cameras in a thread of its own until the block is left."""
    stop = threading.Event()
    thread = threading.Thread(
        target=watch_cameras,
        args=(cameras, detector, on_step),
        kwargs={"options": options, "stop": stop},
        name="maskwatch-cameras",
        daemon=True,
    )
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()

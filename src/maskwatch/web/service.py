"""`Service`: the parts that routes work with, put together once at the start."""

from __future__ import annotations

from dataclasses import dataclass

from maskwatch.sinks.event_store import EventStore
from maskwatch.web.access import Access
from maskwatch.web.batching import Batcher
from maskwatch.web.gate import Gate
from maskwatch.web.limits import Limits
from maskwatch.web.meters import Meters
from maskwatch.web.models import OfferedModels
from maskwatch.web.streams import CameraFeed
from maskwatch.web.videos import VideoJobs


@dataclass(frozen=True, eq=False)
class Service:
    """Everything behind the server.

    Attributes:
        batcher: looks at pictures.
        videos: looks at videos.
        models: detectors that browsers may load.
        limits: how much callers may ask.
        gate: who is in the house.
        meters: what Prometheus reads.
        access: who may ask.
        cameras: where pictures of cameras come from, or None.
        events: where their events are kept, or None.
    """

    batcher: Batcher
    videos: VideoJobs
    models: OfferedModels
    limits: Limits
    gate: Gate
    meters: Meters
    access: Access
    cameras: CameraFeed | None = None
    events: EventStore | None = None

"""`Meters`: what Prometheus may read: requests, pictures, faces, runs of the network, and the cameras.

Base units, `_total` for what only grows, and no label that a caller can choose.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from maskwatch.detections import Detections
from maskwatch.labels import VERDICTS
from maskwatch.model_card import ModelCard
from maskwatch.summary import Summary
from maskwatch.web.board import Board
from maskwatch.web.gate import Gate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """All counters of one server, in a registry of their own."""

    def __init__(self, card: ModelCard, gate: Gate, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # gauges that nobody asks for
        self.registry = CollectorRegistry()
        self._gate = gate
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = self._counter(
            "http_requests", "Requests answered, by route and status.", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "http_request_duration_seconds", "From a request's head to the end of its answer.", "route"
        )
        self.images = self._counter("images", "Pictures looked at, or refused.", "outcome")
        self.faces = self._counter("faces", "Faces found in pictures, by verdict.", "verdict")
        self.batch_images = Histogram(
            "maskwatch_batch_images",
            "Pictures that shared one run of the network.",
            registry=self.registry,
            buckets=(1, 2, 3, 4, 6, 8, 16),
        )
        self.batch_seconds = self._histogram("batch_duration_seconds", "Time of one run, with decoding.")
        for verdict in VERDICTS:
            self.faces.labels(verdict)
        for outcome in ("ok", "refused"):
            self.images.labels(outcome)
        self._gauges(card, gate, version)

    def text(self) -> bytes:
        """The exposition, as Prometheus reads it."""
        return generate_latest(self.registry)

    def watch(self, board: Board) -> None:
        """Tell of the cameras on `board`, too."""
        self.registry.register(_Cameras(board))

    def note_batch(self, pictures: int, seconds: float) -> None:
        """Count one run of the network."""
        self.batch_images.observe(pictures)
        self.batch_seconds.observe(seconds)
        self._gate.note(seconds / pictures)

    def note_faces(self, detections: Detections) -> None:
        """Count one picture and its faces."""
        self.images.labels("ok").inc()
        counts = Summary().add(detections).counts
        for verdict in VERDICTS:
            if counts[verdict]:
                self.faces.labels(verdict).inc(counts[verdict])

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"maskwatch_{name}", words, labels, registry=self.registry)

    def _histogram(self, name: str, words: str, *labels: str) -> Histogram:
        return Histogram(f"maskwatch_{name}", words, labels, registry=self.registry, buckets=_SECONDS)

    def _gauges(self, card: ModelCard, gate: Gate, version: str) -> None:
        """What is read only when somebody asks."""

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"maskwatch_{name}", words, registry=self.registry)

        gauge("requests_waiting", "Requests of pictures that are in the house.").set_function(
            lambda: gate.waiting
        )
        gauge("requests_waiting_bytes", "Bytes those hold.").set_function(lambda: gate.waiting_bytes)
        gauge("requests_waiting_limit", "More than so many are refused.").set(gate.limits.waiting)
        info = Gauge(
            "maskwatch_info",
            "Version of the package and of the model; always 1.",
            ("version", "model", "model_version"),
            registry=self.registry,
        )
        info.labels(version, card.name, card.version).set(1)


class Timer:
    """ASGI middleware: counts and times every request, by the route that answered it."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "aborted"

        async def listening_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, listening_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._meters.requests.labels(method, route, status).inc()
            self._meters.request_seconds.labels(route).observe(time.perf_counter() - started)


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
_COUNTERS = {
    "looked": ("camera_frames", "Pictures of the camera that were looked at."),
    "dropped": ("camera_frames_dropped", "Pictures of the camera that newer ones replaced."),
    "losses": ("camera_losses", "Times the camera was lost."),
    "alerts": ("camera_alerts", "Alerts raised at the camera."),
}


class _Cameras(Collector):
    """Reads the board when Prometheus asks."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """One sample a camera and value; a camera that is not live has no people, and not zero."""
        cameras: list[dict[str, Any]] = self._board.state()["cameras"]
        live = [one for one in cameras if one["state"] == "live"]
        for key, (name, words) in _COUNTERS.items():
            family = CounterMetricFamily(f"maskwatch_{name}", words, labels=["camera"])
            for one in cameras:
                family.add_metric([one["name"]], one[key])
            yield family
        yield _gauge(
            "camera_up", "1 while pictures come.", ((one, one["state"] == "live") for one in cameras)
        )
        yield _gauge("camera_latency_seconds", "Median.", ((one, one["latency_p50_s"]) for one in live))
        yield _gauge(
            "camera_compliance_ratio",
            "Share of sure person-time with the mask worn right.",
            ((one, one["compliance"]) for one in live if one["compliance"] is not None),
        )
        people = GaugeMetricFamily(
            "maskwatch_camera_people", "People in view, by verdict.", labels=["camera", "verdict"]
        )
        for one in live:
            for verdict in VERDICTS:
                people.add_metric([one["name"], verdict], one["in_view"][verdict])
        yield people


def _gauge(name: str, words: str, values: Iterable[tuple[dict[str, Any], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"maskwatch_{name}", words, labels=["camera"])
    for camera, value in values:
        family.add_metric([camera["name"]], float(value))
    return family

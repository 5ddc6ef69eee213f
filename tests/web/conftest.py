"""A server with the packaged model for all tests that only ask, and detectors that can be held up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from maskwatch import Detections
from maskwatch.web.server import WebServer
from maskwatch.web.serving import ServeOptions, serving


class Held:
    """A detector that finds one face as large as the picture, once it is let go; it notes its batches."""

    def __init__(self, card):
        self.card = card
        self.go = threading.Event()
        self.batches: list[int] = []
        self.thresholds: list[float] = []

    def detect_letterboxed(self, prepared, *, score_threshold=None):
        assert self.go.wait(60)
        self.batches.append(len(prepared))
        self.thresholds.append(score_threshold)
        return [self._face(one.size_wh, score_threshold) for one in prepared]

    def look_again(self, image, one, faces, *, turned=None, nearer=None, score_threshold=None):
        return faces

    def _face(self, size_wh, threshold):
        width, height = size_wh
        scores = np.array([0.9, 0.3])
        faces = Detections(
            xyxy=np.array([[0, 0, width, height], [0, 0, 4, 4]]), score=scores, label=np.array([0, 1])
        )
        return faces[scores >= threshold]

    def detect(self, frame, /):
        assert self.go.wait(60)
        return self._face(frame.size_wh, 0.5)


@pytest.fixture
def held(one_thread) -> Held:
    return Held(one_thread.card)


@pytest.fixture(scope="session")
def server(one_thread) -> Iterator[WebServer]:
    with serving(one_thread, one_thread, ServeOptions(port=0)) as running:
        yield running


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    with asked(server) as client:
        yield client


def asked(server: WebServer, **options: object) -> httpx.Client:
    """A plain HTTP client of a server."""
    return httpx.Client(base_url=server.url, timeout=120, trust_env=False, **options)


JPEG = {"Content-Type": "image/jpeg"}

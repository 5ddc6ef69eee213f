"""Pictures that every test may use: NASA's public-domain portrait, bare and with drawn masks."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import settings
from skimage import data

from maskwatch import DetectOptions, Detector
from maskwatch.frames import Image
from maskwatch.synthesis import draw_mask

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A change is judged on the same inputs each time; `HYPOTHESIS_PROFILE=search` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """(512, 512, 3) RGB: one unmasked face."""
    image = np.array(data.astronaut())
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def landmarks() -> np.ndarray:
    """(5, 2) px of the astronaut's face, as YuNet gave them."""
    return np.array(
        [[200.1, 101.8], [247.1, 102.6], [220.4, 124.5], [198.6, 142.8], [239.7, 143.6]], np.float32
    )


@pytest.fixture(scope="session")
def face_box() -> np.ndarray:
    """(1, 4) px xyxy of the astronaut's face."""
    return np.array([[178.2, 62.9, 268.1, 176.2]], np.float32)


def crowd(
    portrait: Image, face_box: np.ndarray, *, face_px: int, size_wh: tuple[int, int]
) -> tuple[Image, np.ndarray]:
    """A grey photo of 4 rows of 6 portraits with faces `face_px` high, and the boxes (24, 4) of these."""
    factor = face_px / (face_box[0, 3] - face_box[0, 1])
    one = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    photo = np.full((size_wh[1], size_wh[0], 3), 128, np.uint8)
    boxes = []
    for row, column in np.ndindex(4, 6):
        x, y = int((column + 0.3) * size_wh[0] / 6), int((row + 0.3) * size_wh[1] / 4)
        photo[y : y + one.shape[0], x : x + one.shape[1]] = one
        boxes.append(face_box[0] * one.shape[0] / portrait.shape[0] + [x, y, x, y])
    return photo, np.array(boxes, np.float32)


@pytest.fixture(scope="session")
def masked(astronaut: Image, landmarks: np.ndarray) -> Image:
    """The astronaut with a drawn surgical mask."""
    return draw_mask(astronaut, landmarks, rng=np.random.default_rng(3))


@pytest.fixture(scope="session")
def detector() -> Detector:
    """The packaged model."""
    return Detector()


@pytest.fixture(scope="session")
def one_thread() -> Detector:
    """The packaged model on one thread a picture, as servers use it."""
    return Detector(options=DetectOptions(threads=1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The labelled photos and peers beside the repository, where there are any."""
    if not SHARED.is_dir():
        pytest.skip(f"no labelled photos here: {SHARED} is missing")
    return SHARED


class Hook(BaseHTTPRequestHandler):
    """Answers with the status in the path, and keeps what it got."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(int(self.path.strip("/").split("?")[0]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    """A webhook on loopback; `got` holds headers and body of each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def jpeg(image: Image, **options: object) -> bytes:
    """`image` as the bytes of a JPEG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()

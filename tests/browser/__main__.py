"""Draw the documentation's screenshots anew: `python -m tests.browser`; look at them before you commit."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

from maskwatch import DetectOptions, Detector
from maskwatch.events import Rules
from maskwatch.frames import Image
from maskwatch.pipeline import Delivery, WatchOptions
from maskwatch.sinks.database import Database
from maskwatch.sinks.event_store import EventStore
from maskwatch.sinks.spool import Spool
from maskwatch.sources.camera import Camera, CameraOptions
from maskwatch.tracker import WEAK_SCORE, TrackOptions
from maskwatch.web.board import Board
from maskwatch.web.server import WebServer
from maskwatch.web.serving import ServeOptions, serving, watching
from maskwatch.web.streams import BoardFeed
from tests.browser.conftest import PATIENCE_MS, PHONE, launch
from tests.clips import make_clip
from tests.golden import pictures
from tests.services.servers import free_port

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DESKTOP = {"width": 1280, "height": 860}
QUALITY = 72
WATCH_MS = 45_000
"""How long the cameras run before the dashboard's picture is taken, so that its chart has a past."""


def walk(first: str, second: str) -> list[Image]:
    """Two people who cross a hall, (360, 640, 3) each; one of them after the other."""
    portraits = [
        cv2.resize(pictures()[name], (300, 300), interpolation=cv2.INTER_AREA) for name in (first, second)
    ]
    frames = []
    for step in range(330):
        image = np.full((360, 640, 3), (176, 182, 190), np.uint8)
        image[300:] = (120, 126, 134)
        for portrait, left in zip(portraits, (-240 + 4 * step % 1100, 640 - 3 * (step - 60)), strict=True):
            begin, end = max(0, left), min(640, left + 300)
            if end > begin and step >= 0:
                image[40:340, begin:end] = portrait[:, begin - left : end - left]
        frames.append(image)
    return frames


@contextlib.contextmanager
def hall(folder: Path) -> Iterator[WebServer]:
    """Three cameras, of which one is not there."""
    entrance = make_clip(folder / "entrance.mp4", walk("surgical", "bare"), rate=Fraction(15))
    lobby = make_clip(folder / "lobby.mp4", walk("ffp2", "black"), rate=Fraction(15))
    looped = CameraOptions(loop=True)
    cameras = [
        Camera(str(entrance), looped, name="Entrance"),
        Camera(str(lobby), looped, name="Lobby"),
        Camera(f"rtsp://127.0.0.1:{free_port()}/dock", name="Loading dock"),
    ]
    options = WatchOptions(
        rules=Rules(without_mask_s=1.0, repeat_s=15),
        track=TrackOptions(score_threshold=0.4),
        aggregate_every_s=2,
    )
    detector = Detector(options=DetectOptions(score_threshold=WEAK_SCORE, max_side=640, threads=1))
    url, board = f"sqlite:///{folder / 'events.db'}", Board()
    store = EventStore(url)
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        delivery = stack.enter_context(Delivery(Database(url), Spool(folder / "spool.db")))

        def on_step(step):  # type: ignore[no-untyped-def]
            for event in step.events:
                delivery.write(event)
            board.show(step)

        stack.enter_context(watching(cameras, detector, options, on_step))
        judge = Detector(options=DetectOptions(threads=1))
        served = serving(judge, judge, ServeOptions(port=0), cameras=BoardFeed(board), events=store)
        yield stack.enter_context(served)


def shoot(page: Page, name: str, height: int) -> None:
    """Write the upper part of a page."""
    target = IMAGES / f"{name}.jpg"
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
    page.screenshot(path=target, type="jpeg", quality=QUALITY, full_page=True, clip=clip)
    print(f"{target}: {target.stat().st_size:,} bytes")


def main() -> None:
    """Both pages, on a desktop and on a phone, in light and dark."""
    with (
        tempfile.TemporaryDirectory() as folder,
        hall(Path(folder)) as server,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for name, size, scheme in (("web-page", DESKTOP, "light"), ("web-page-phone", PHONE, "dark")):
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(server.url)
            page.click("#example")
            expect(page.locator("#faces tbody tr")).to_have_count(4)
            page.wait_for_timeout(1000)  # for a picture to look at: nothing is tested here
            shoot(page, name, 1240 if size == PHONE else 960)
            page.close()
        for name, size, scheme in (
            ("web-dashboard", DESKTOP, "dark"),
            ("web-dashboard-phone", PHONE, "light"),
        ):
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.goto(f"{server.url}dashboard")
            expect(page.locator("#alerts li").nth(1)).to_be_visible()
            page.wait_for_timeout(WATCH_MS if size == DESKTOP else 3000)
            shoot(page, name, 1500 if size == PHONE else 1130)
            page.close()


if __name__ == "__main__":
    main()

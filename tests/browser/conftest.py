"""Debian's Chromium, driven by Playwright, with a webcam that plays frames the tests make."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from maskwatch.frames import Image
from maskwatch.web import files
from maskwatch.web.server import WebServer
from maskwatch.web.serving import ServeOptions, serving
from tests.browser import FLAGS
from tests.golden import pictures
from tests.services.servers import missing

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS = 120_000
"""For conditions that a busy machine takes long to reach; nothing waits when it need not."""
PHONE = {"width": 390, "height": 844}

expect.set_options(timeout=PATIENCE_MS)


def chromium() -> str:
    """Where the browser is."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("chromium")
    if files.RUNTIME not in files.names() or not AXE.is_file():
        missing("onnxruntime-web and axe-core (python web/vendor.py --with-tools)")
    return str(found)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


def launch(playwright: Playwright, *flags: str) -> Browser:
    return playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *flags])


def write_y4m(path: Path, frames: Sequence[Image], rate: int = 10) -> Path:
    """Frames as Chromium's fake webcam plays them, over and over."""
    height, width = frames[0].shape[:2]
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            out.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return path


def upper_half(portrait: Image) -> Image:
    """(240, 320, 3): the face on a grey ground."""
    image = np.full((240, 320, 3), 110, np.uint8)
    image[:, 60:260] = portrait[10:250, 110:310]
    return image


@pytest.fixture(scope="session")
def browser(playwright, tmp_path_factory, astronaut, masked) -> Iterator[Browser]:
    """Its webcam shows a bare face for two seconds, then a masked one for two."""
    frames = [upper_half(astronaut)] * 20 + [upper_half(masked)] * 20
    video = write_y4m(tmp_path_factory.mktemp("webcam") / "webcam.y4m", frames)
    running = launch(
        playwright,
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )
    yield running
    running.close()


@pytest.fixture(scope="session")
def server(one_thread) -> Iterator[WebServer]:
    with serving(one_thread, one_thread, ServeOptions(port=0)) as running:
        yield running


@pytest.fixture(scope="session")
def golden(tmp_path_factory) -> dict[str, Path]:
    """The golden pictures as files without loss, by name."""
    folder = tmp_path_factory.mktemp("golden")
    for name, picture in pictures().items():
        PIL.Image.fromarray(picture).save(folder / f"{name}.png")
    return {path.stem: path for path in folder.iterdir()}


class Log:
    """What a page asked the network for, and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.requests: list[Any] = []
        self.complaints: list[str] = []
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type == "error" else None,
        )

    def _note(self, request: Any) -> None:
        self.requests.append(request)

    @property
    def sent(self) -> list[Any]:
        """Requests that leave the browser."""
        return [one for one in self.requests if not one.url.startswith(("blob:", "data:"))]


@pytest.fixture
def page(browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, permissions=["camera"])
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def open_ready(page: Page, address: str) -> Log:
    """Open the page for pictures, and wait until its engine is ready."""
    log = Log(page)
    page.goto(address)
    expect(page.locator("#engine-state")).to_contain_text("Ready")
    return log


def results(page: Page) -> dict[str, Any]:
    """What the page lets one download as JSON."""
    with page.expect_download() as download:
        page.click("#save-json")
    return json.loads(Path(download.value.path()).read_text())


def choose(page: Page, paths: Sequence[Path]) -> None:
    """Choose photos, and wait until each was looked at."""
    photos = page.locator("#photos button")  # the strip is drawn for a single photo, too, but hidden
    earlier = photos.count()
    page.set_input_files("#chooser", [str(path) for path in paths])
    expect(photos).to_have_count(earlier + len(paths))
    expect(page.locator("#photos button[aria-label*='Looking']")).to_have_count(0)
    expect(page.locator("#save-json")).to_be_enabled()


def serious(page: Page) -> list[str]:
    """Accessibility findings of axe-core that hinder people."""
    page.evaluate(AXE.read_text())  # not bound by the page's policy, as the browser's tools are not
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} ({node['html']})"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]

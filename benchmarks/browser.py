"""What Chromium takes for the same pictures; needs Playwright and Debian's chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROUNDS = 3
PICTURES = 60
_TIME = """async ([threads, side, pictures]) => {
  const {DeviceEngine} = await import("/app/device.js");
  const source = new Image();
  source.src = "/app/example.jpg";
  await source.decode();
  const engine = new DeviceEngine();
  const [card] = await engine.cards();
  await engine.load(card, "wasm", threads);
  const times = [];
  for (let turn = 0; turn < pictures; turn += 1) {
    const bitmap = await createImageBitmap(source, 0, 0, side, side);
    times.push((await engine.detect(bitmap, {maxSide: 1024, scoreThreshold: card.score_threshold})).ms);
  }
  engine.end();
  return Math.min(...times);
}"""


def measure(url: str, *, native: Callable[[int, int], float]) -> dict[str, Any]:
    """Best times by size and threads, taken in turns with Python's; weight and first result of the page."""
    program = shutil.which("chromium")
    if program is None:
        return {"skipped": "chromium is not installed"}
    figures: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        figures.update(_first_visit(browser, url))
        page = browser.new_page()
        page.goto(url)
        for side in (320, 640):
            for threads in (1, 2):
                there, here = [], []
                for _ in range(ROUNDS):
                    here.append(native(side, threads))
                    there.append(page.evaluate(_TIME, [threads, side, PICTURES]))
                name = f"{side} px, {threads} thread{'s' * (threads > 1)}"
                figures[f"{name}: browser ms"] = min(there)
                figures[f"{name}: Python ms"] = min(here)
                figures[f"{name}: browser ÷ Python"] = min(there) / min(here)
        browser.close()
    return figures


def _first_visit(browser: Browser, url: str) -> dict[str, Any]:
    """Bytes of the page by kind, and seconds from the address to the first result, with an empty cache."""
    seconds, sizes = [], {"page": 0, "runtime": 0, "model": 0}
    for turn in range(ROUNDS):
        context = browser.new_context()
        page = context.new_page()
        if turn == 0:
            page.on("response", lambda response: _weigh(response, sizes))
        page.goto(url)
        page.click("#example")
        expect(page.locator("#faces tbody tr").first).to_be_visible(timeout=60_000)
        seconds.append(page.evaluate("performance.now()") / 1000)
        context.close()
    return {
        "first result on the device, s": min(seconds),
        **{f"bytes: {key}": size for key, size in sizes.items()},
    }


def _weigh(response: Any, sizes: dict[str, int]) -> None:
    path = urlsplit(response.url).path
    if path.endswith("example.jpg") or not response.url.startswith("http"):
        return
    kind = "runtime" if "/vendor/" in path else "model" if path.endswith(".onnx") else "page"
    sizes[kind] += len(response.body())

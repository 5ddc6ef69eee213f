"""What Chromium takes for the same pictures; needs Playwright and Debian's chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect, sync_playwright
from tests.browser import FLAGS

ROUNDS = 3
FIRST_VISITS = 6
PICTURES = 60
_LOAD = """async ([threads, side]) => {
  const {DeviceEngine} = await import("/app/device.js");
  const source = new Image();
  source.src = "/app/example.jpg";
  await source.decode();
  const engine = new DeviceEngine();
  const [card] = await engine.cards();
  await engine.load(card, "wasm", threads);
  const wish = {maxSide: 1024, scoreThreshold: card.score_threshold};
  window.look = async (pictures) => {
    const times = [];
    for (let turn = 0; turn < pictures; turn += 1) {
      const bitmap = await createImageBitmap(source, 0, 0, side, side);
      times.push((await engine.detect(bitmap, wish)).ms);
    }
    return Math.min(...times);
  };
  await window.look(10);
}"""


def measure(url: str, *, native: Callable[[int, int], tuple[float, float]]) -> dict[str, Any]:
    """Times by size and threads, taken in turns with Python's; weight and first result of the page.

    `native` gives, for a side in px and a number of threads, the fastest picture and the processor's
    time a picture, both in ms. The latter is also told of the browser: on a busy machine it is the fairer.
    """
    program = shutil.which("chromium")
    if program is None:
        return {"skipped": "chromium is not installed"}
    figures: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        figures.update(_first_visit(browser, url))
        for side in (320, 640):
            for threads in (1, 2):
                name = f"{side} px, {threads} thread{'s' * (threads > 1)}"
                here, there = _in_turns(browser, url, side, threads, native)
                for place, kind in enumerate(("fastest", "processor")):
                    figures[f"{name}: {kind}, browser ms"] = there[place]
                    figures[f"{name}: {kind}, Python ms"] = here[place]
                    figures[f"{name}: {kind}, browser ÷ Python"] = there[place] / here[place]
        browser.close()
    return figures


def _in_turns(
    browser: Browser, url: str, side: int, threads: int, native: Callable[[int, int], tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Best of some rounds of each: the fastest picture, and the processor's time a picture, in ms."""
    page = browser.new_page()
    page.goto(url)
    page.evaluate(_LOAD, [threads, side])
    here, there = [], []
    for _ in range(ROUNDS):
        here.append(native(side, threads))
        before_ms = _processor_ms(browser)
        fastest = page.evaluate("(pictures) => window.look(pictures)", PICTURES)
        there.append((fastest, (_processor_ms(browser) - before_ms) / PICTURES))
    page.close()
    return [min(column) for column in zip(*here, strict=True)], [
        min(column) for column in zip(*there, strict=True)
    ]


def _processor_ms(browser: Browser) -> float:
    """Processor time that the browser's pages have taken by now."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return 1e3 * sum(float(one["cpuTime"]) for one in processes if one["type"] == "renderer")


def _first_visit(browser: Browser, url: str) -> dict[str, Any]:
    """Bytes of the page by kind, and seconds from the address to the first result, with an empty cache."""
    seconds, sizes = [], {"page": 0, "runtime": 0, "model": 0}
    responses: list[Any] = []
    for _ in range(FIRST_VISITS):
        context = browser.new_context()
        page = context.new_page()
        responses.clear()
        page.on("response", lambda response: responses.extend([response]))
        page.goto(url)
        page.click("#example")
        expect(page.locator("#faces tbody tr").first).to_be_visible(timeout=60_000)
        seconds.append(page.evaluate("performance.now()") / 1000)
        if not sizes["page"]:
            for response in responses:
                _weigh(response, sizes)
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

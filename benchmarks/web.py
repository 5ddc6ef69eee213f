"""The server beside a plain loop, a thousand uploads at once, and the browser beside Python.

The server runs as its own process, as people run it, and so do its clients: both share the machine with
it, which the loop has for itself. Measured in turns, the best round of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from skimage import data

from maskwatch import DetectOptions, Detector
from maskwatch.codec import encode_image
from maskwatch.frames import Image

ROUNDS = 3
CLIENTS = (1, 8, 64)
ROUND_S = 6.0
UPLOADS = 1000
ASTRONAUT = np.array(data.astronaut())  # type: ignore[no-untyped-call]
COMMAND = [sys.executable, "-c", "from maskwatch.cli.app import main; main()"]


def run(_shared: Path) -> dict[str, Any]:
    """All of it; prints ratios, gives all figures."""
    figures: dict[str, Any] = {"server": throughput(), "uploads at once": uploads()}
    figures["browser"] = browser()
    return figures


def throughput() -> dict[str, Any]:
    """Pictures a second at 1, 8 and 64 clients, beside a loop over `Detector`."""
    picture = encode_image(_portrait(100), ".jpg")
    loop = Detector()
    best: dict[str, dict[str, float]] = {}

    def note(name: str, figures: dict[str, float]) -> None:
        if figures["per second"] > best.get(name, {"per second": 0.0})["per second"]:
            best[name] = figures

    with _server() as url:
        for _ in range(ROUNDS):
            note("loop", _loop(loop, picture))
            for clients in CLIENTS:
                note(f"{clients} clients", asyncio.run(_crowd(url, picture, clients)))
    for name, figures in best.items():
        figures["efficiency"] = figures["per second"] / best["loop"]["per second"]
        words = ", ".join(f"{key} {value:.2f}" for key, value in figures.items())
        print(f"{name}: {words}")
    return best


def _loop(detector: Detector, picture: bytes) -> dict[str, float]:
    times = []
    started = time.perf_counter()
    while time.perf_counter() - started < ROUND_S:
        before = time.perf_counter()
        detector.detect(picture)
        times.append((time.perf_counter() - before) * 1e3)
    return _spread(times, time.perf_counter() - started)


async def _crowd(url: str, picture: bytes, clients: int) -> dict[str, float]:
    """Clients that each send the next picture when the last one is answered."""
    times: list[float] = []
    refused = 0
    deadline = time.perf_counter() + ROUND_S

    async def client() -> None:
        nonlocal refused
        async with _connection(url) as ask:
            while time.perf_counter() < deadline:
                before = time.perf_counter()
                status, _, _ = await ask(picture)
                if status == 200:
                    times.append((time.perf_counter() - before) * 1e3)
                else:
                    refused += 1

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return {**_spread(times, time.perf_counter() - started), "refused": float(refused)}


def uploads() -> dict[str, Any]:
    """A thousand callers at once, each with a picture of its own, who come back when told to."""
    places = np.linspace(0, 380, UPLOADS).astype(int)
    pictures = [encode_image(_portrait(place), ".jpg") for place in places]
    with _server() as url:
        pid = _pid_of(url)
        asyncio.run(_crowd(url, pictures[0], 2))
        before_mb = _resident_mb(pid)
        started = time.perf_counter()
        answers, refusals, slowest_refusal_s = asyncio.run(_rush(url, pictures))
        took_s = time.perf_counter() - started
        peak_mb = _peak_mb(pid)
    wrong = sum(
        abs(answer["images"][0]["faces"][0]["box"]["x1"] - (place + 79)) > 12
        for answer, place in zip(answers, places, strict=True)
    )
    figures = {
        "callers": UPLOADS,
        "answered": len(answers),
        "answered with another's picture": int(wrong),
        "refusals (429) on the way": refusals,
        "slowest refusal, s": slowest_refusal_s,
        "seconds": took_s,
        "memory before, MB": before_mb,
        "memory at its peak, MB": peak_mb,
        "bytes sent, MB": sum(map(len, pictures)) / 1e6,
    }
    print("uploads at once:", {key: round(value, 2) for key, value in figures.items()})
    return figures


async def _rush(url: str, pictures: list[bytes]) -> tuple[list[dict[str, Any]], int, float]:
    """Answers in order, how often callers were sent away, and how long the slowest of that took."""
    refusals: list[float] = []
    start = asyncio.Event()

    async def caller(number: int) -> dict[str, Any]:
        await start.wait()
        while True:
            before = time.perf_counter()
            async with _connection(url) as ask:
                status, retry_s, body = await ask(pictures[number])
            if status == 200:
                return dict(json.loads(body))
            if status != 429:
                raise RuntimeError(f"caller {number} was answered {status}: {body!r}")
            refusals.append(time.perf_counter() - before)
            await asyncio.sleep(retry_s * (0.5 + number % 100 / 100))

    callers = [asyncio.ensure_future(caller(number)) for number in range(len(pictures))]
    start.set()
    answers = await asyncio.gather(*callers)
    return list(answers), len(refusals), max(refusals, default=0.0)


@contextlib.asynccontextmanager
async def _connection(url: str) -> Any:
    """A bare HTTP client on one connection: a library's own time would count as the server's."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def ask(picture: bytes) -> tuple[int, float, bytes]:
        head = (
            f"POST /v1/detect HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {len(picture)}\r\n\r\n"
        )
        writer.write(head.encode() + picture)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        length, retry_s = 0, 0.0
        while (line := (await reader.readline()).strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line.startswith(b"retry-after:"):
                retry_s = float(line.split(b":")[1])
        return status, retry_s, await reader.readexactly(length)

    try:
        yield ask
    finally:
        writer.close()


def browser() -> dict[str, Any]:
    """Milliseconds a picture in Chromium ÷ in Python, and the page's own weight and first result."""
    try:
        from benchmarks.browser import measure
    except ImportError as error:
        print(f"skipped: the browser is not measured, as {error.name} is not installed")
        return {}
    with _server() as url:
        figures = measure(url, native=_native_ms)
    for name, value in figures.items():
        print(f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}")
    return figures


def _native_ms(side: int, threads: int) -> tuple[float, float]:
    """`Detector` on a decoded picture of `side` px: the fastest, and the processor's time for one, in ms."""
    detector = Detector(options=DetectOptions(threads=threads))
    picture = np.ascontiguousarray(np.tile(ASTRONAUT, (2, 2, 1))[:side, :side])
    for _ in range(5):
        detector.detect(picture)
    times, began = [], time.process_time()
    for _ in range(60):
        before = time.perf_counter()
        detector.detect(picture)
        times.append((time.perf_counter() - before) * 1e3)
    return min(times), (time.process_time() - began) * 1e3 / 60


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """`maskwatch serve` with its own limits, on a free port."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stderr=said, text=True)
        try:
            url, deadline = None, time.monotonic() + 60
            while url is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start")
                time.sleep(0.1)
                said.seek(0)
                found = re.search(r"The page: (\S+)", said.read())
                url = found.group(1) if found else None
            _PIDS[url] = process.pid
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


_PIDS: dict[str, int] = {}


def _pid_of(url: str) -> int:
    return _PIDS[url]


def _portrait(left: int) -> Image:
    """(480, 640, 3): the astronaut's face, `left` px from the edge, on a grey ground."""
    image = np.full((480, 640, 3), 110, np.uint8)
    image[100:400, left : left + 250] = ASTRONAUT[10:310, 100:350]
    return image


def _spread(times_ms: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(times_ms)
    return {
        "per second": len(ordered) / seconds,
        "p50 ms": statistics.median(ordered),
        "p95 ms": ordered[int(0.95 * (len(ordered) - 1))],
    }


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    return int(found.group(1)) / 1024 if found else 0.0


def _resident_mb(pid: int) -> float:
    return _status(pid, "VmRSS")


def _peak_mb(pid: int) -> float:
    return _status(pid, "VmHWM")

"""Cameras and receivers under load, hurt again and again for some minutes; then every event is counted.

    python -m benchmarks.soak MINUTES [PROGRAM]

Two cameras (a real RTSP server, and a face in a file that plays for ever) feed one program with four
receivers: a file on a disk that fills up, PostgreSQL, an MQTT broker and a webhook. One fault at a time, each
for some seconds, each followed by a pause. Memory, threads and open files are watched; at the end, for each
receiver, what the program saw must be what arrived, waits, was refused or was dropped and counted.
A new program (a server, a watcher of many cameras) is one more function in `PROGRAMS`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from tests.clips import make_clip
from tests.services.servers import Broker, Postgres, RtspCamera

from benchmarks.corpus import portrait

RESULTS = Path("runs") / "benchmarks"
FAULT_S, PAUSE_S, LOOK_S = 8.0, 12.0, 2.0
DISK_KB = 4096


@dataclass
class Vitals:
    """What was measured of the process, every two seconds."""

    rss_mb: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self, process: int) -> None:
        """Measure once."""
        status = Path(f"/proc/{process}/status").read_text()
        self.rss_mb.append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) // 1024)
        self.threads.append(int(re.findall(r"Threads:\s+(\d+)", status)[0]))
        self.files.append(len(list(Path(f"/proc/{process}/fd").iterdir())))


class Hook(ThreadingHTTPServer):
    """A webhook that keeps the ids it got, and answers 503 while it is `ill`."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.ill = False
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.ill:
            self.server.ids += [event["event_id"] for event in json.loads(body)["events"]]
        self.send_response(503 if self.server.ill else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def live(folder: Path, sources: list[str], sinks: list[str]) -> list[str]:
    """`maskwatch live` with everything."""
    arguments = [
        "live",
        *sources,
        "--loop",
        "--no-page",
        "--aggregate-every",
        "0.5",
        "--spool",
        str(folder / "spool"),
    ]
    return [*arguments, *itertools.chain.from_iterable(("--sink", sink) for sink in sinks)]


PROGRAMS: dict[str, Callable[[Path, list[str], list[str]], list[str]]] = {"live": live}


def main() -> None:
    """Run for the minutes on the command line; print and keep the figures."""
    minutes = float(sys.argv[1]) if sys.argv[1:] else 10.0
    name = sys.argv[2] if sys.argv[2:] else "live"
    with tempfile.TemporaryDirectory(prefix="maskwatch-soak-") as place, contextlib.ExitStack() as stack:
        figures = _soak(Path(place), minutes, PROGRAMS[name], stack)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"soak-{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    sys.exit(figures["unaccounted"] != 0 or figures["exit_code"] != 0)


def _soak(
    folder: Path,
    minutes: float,
    program: Callable[[Path, list[str], list[str]], list[str]],
    stack: contextlib.ExitStack,
) -> dict[str, Any]:
    broker, table = stack.enter_context(Broker()), stack.enter_context(Postgres())
    camera = stack.enter_context(RtspCamera())
    disk, hook = stack.enter_context(_small_disk(folder / "disk")), Hook()
    frames = [np.ascontiguousarray(np.roll(portrait(), 2 * step, axis=1)) for step in range(60)]
    clip = make_clip(folder / "face.mp4", frames, rate=Fraction(15))
    sinks = [str(disk / "events.jsonl"), table.url, broker.url, f"http://127.0.0.1:{hook.server_port}/in"]
    command = [sys.executable, "-c", "from maskwatch.cli.app import main; main()"]
    log = stack.enter_context((folder / "said.txt").open("w+"))
    process = subprocess.Popen(
        [*command, *program(folder, [camera.url, str(clip)], sinks)],
        stdout=log,
        stderr=log,
        env={**os.environ, "COLUMNS": "300", "NO_COLOR": "1"},
    )
    vitals, faults, ends = Vitals(), 0, time.monotonic() + 60 * minutes
    time.sleep(3 * PAUSE_S)  # it has loaded everything and met all receivers by then
    for fault in itertools.cycle(_faults(broker, table, camera, hook, disk)):
        if time.monotonic() > ends or process.poll() is not None:
            break
        with fault():
            _watch(process, vitals, FAULT_S)
        faults += 1
        _watch(process, vitals, PAUSE_S)
    _watch(process, vitals, 3 * PAUSE_S)  # longest pause between tries included, all may arrive
    process.send_signal(signal.SIGTERM)
    code = process.wait(120)
    log.seek(0)
    said = log.read()
    arrived = {
        "file": [json.loads(line)["event_id"] for line in (disk / "events.jsonl").read_text().splitlines()],
        "table": _ids_in(table),
        "webhook": hook.ids,
    }
    return {
        "minutes": minutes,
        "faults": faults,
        "exit_code": code,
        **_summary(vitals),
        **_accounts(said, arrived),
    }


def _faults(
    broker: Broker, table: Postgres, camera: RtspCamera, hook: Hook, disk: Path
) -> list[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Ways to hurt; each is a context in which it hurts."""

    @contextlib.contextmanager
    def killed(server: Any) -> Iterator[None]:
        server.kill()
        try:
            yield
        finally:
            server.start()

    @contextlib.contextmanager
    def stalled() -> Iterator[None]:
        camera.stall()
        try:
            yield
        finally:
            camera.wake()

    @contextlib.contextmanager
    def ill() -> Iterator[None]:
        hook.ill = True
        try:
            yield
        finally:
            hook.ill = False

    @contextlib.contextmanager
    def full() -> Iterator[None]:
        with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            (disk / "ballast").unlink()

    return [full, lambda: killed(broker), ill, lambda: killed(table), stalled, lambda: killed(camera)]


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    ).returncode
    if not mounted:
        sys.exit("skipped: a disk that can be filled needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _watch(process: subprocess.Popen[bytes], vitals: Vitals, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            vitals.look(process.pid)
        time.sleep(LOOK_S)


def _ids_in(table: Postgres) -> list[str]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(table.url.replace("postgresql:", "postgresql+pg8000:"))
    with engine.connect() as connection:
        query = "SELECT event_id FROM maskwatch_events UNION ALL SELECT event_id FROM maskwatch_aggregates"
        rows = connection.execute(sqlalchemy.text(query)).fetchall()
    engine.dispose()
    return [row[0] for row in rows]


def _summary(vitals: Vitals) -> dict[str, Any]:
    """First and last tenth of each, and the most."""
    tenth = max(1, len(vitals.rss_mb) // 10)
    rows = {"rss_mb": vitals.rss_mb, "threads": vitals.threads, "files": vitals.files}
    return {
        name: {
            "begin": round(float(np.median(values[:tenth])), 1),
            "end": round(float(np.median(values[-tenth:])), 1),
            "most": max(values),
        }
        for name, values in rows.items()
    }


def _accounts(said: str, arrived: dict[str, list[str]]) -> dict[str, Any]:
    """What became of each event, by receiver; `unaccounted` is what nobody can tell."""
    accounts: dict[str, Any] = {}
    unaccounted = 0
    names = {"events.jsonl": "file", "postgresql": "table", "mqtt": "broker", "http:": "webhook"}
    for line in said.splitlines():
        found = re.search(r"^(.*): (\d+) of (\d+) events delivered", line)
        if found is None:
            continue
        name = next(short for start, short in names.items() if start in found[1])
        delivered, seen = int(found[2]), int(found[3])
        rest = {
            word: sum(map(int, re.findall(rf"(\d+) {pattern}", line)))
            for word, pattern in (("waiting", "wait for"), ("refused", "refused"), ("dropped", "dropped"))
        }
        missing = seen - delivered - sum(rest.values())
        row: dict[str, Any] = {"seen": seen, "delivered": delivered, **rest}
        if name in arrived:
            row["arrived"], row["twice"] = (
                len(set(arrived[name])),
                len(arrived[name]) - len(set(arrived[name])),
            )
            missing += delivered - row["arrived"]
        unaccounted += abs(missing)
        accounts[name] = {**row, "unaccounted": missing}
    cameras = re.findall(r"^(.*) pictures looked at, (.*)$", said, flags=re.MULTILINE)
    return {
        "receivers": accounts,
        "unaccounted": unaccounted if len(accounts) == len(names) else -1,
        "alarms": said.count("ALARM"),
        "cameras": [" pictures looked at, ".join(found) for found in cameras],
        "tracebacks": said.count("Traceback"),
        "first_traceback": said[said.find("Traceback") :][:2000] if "Traceback" in said else "",
    }


if __name__ == "__main__":
    main()

"""Cameras, receivers and a web server under load, hurt again and again for some minutes; then all is counted.

    python -m benchmarks.soak MINUTES

Two cameras (a real RTSP server, and a face in a file that plays for ever) feed `maskwatch live` with four
receivers: a file on a disk that fills up, PostgreSQL, an MQTT broker and a webhook. `maskwatch serve` shows
the same cameras and events, and is asked by callers of all kinds (`soak_callers`). Everything goes over
lines that can be made bad. One fault at a time (`soak_faults`), each for some seconds, each followed by a
pause. Memory, threads and open files of both are watched. At the end, for each receiver, what the program saw
must be what arrived, waits, was refused or was dropped and counted; and each upload must have been answered
as it should be, unless its connection was one of those that were cut.
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
import urllib.request
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from tests.clips import make_clip
from tests.services.line import Line
from tests.services.servers import Broker, Postgres, RtspCamera, wait_until

from benchmarks.corpus import portrait
from benchmarks.soak_callers import Callers
from benchmarks.soak_faults import Site, faults, in_a_network_of_its_own, small_disk

RESULTS = Path("runs") / "benchmarks"
FAULT_S, PAUSE_S, LOOK_S = 8.0, 12.0, 2.0
LIVE, SERVE = "maskwatch live", "maskwatch serve"
OWN_NETWORK = "MASKWATCH_SOAK_NETWORK"
COMMAND = [sys.executable, "-c", "from maskwatch.cli.app import main; main()"]


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
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            return  # cut off on its way
        if not self.server.ill:
            self.server.ids += [event["event_id"] for event in json.loads(body)["events"]]
        self.send_response(503 if self.server.ill else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Listener:
    """Counts what arrives at the broker, beside maskwatch."""

    def __init__(self, broker: Broker) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.ids: list[str] = []
        self._is_back = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("site/events", qos=1)
        self._client.on_subscribe = lambda *_: self._is_back.set()
        self._client.on_disconnect = lambda *_: self._is_back.clear()
        self._client.on_message = lambda _c, _u, message: self.ids.append(
            json.loads(message.payload)["event_id"]
        )
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Until it hears all that is said."""
        if not self._is_back.wait(30):
            raise RuntimeError("the broker does not answer")


class Program:
    """A maskwatch command as users run it; ended by SIGTERM."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self._said = folder / f"{arguments[0]}.txt"
        scratch = folder / f"{arguments[0]}-scratch"
        scratch.mkdir()
        environment = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1", "TMPDIR": str(scratch)}
        with self._said.open("w") as file:
            self.process = subprocess.Popen([*COMMAND, *arguments], stdout=file, stderr=file, env=environment)
        self.scratch, self.vitals = scratch, Vitals()

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def address(self) -> str:
        """Where its page is, once it says so."""
        wait_until(lambda: "The page: " in self.said, 120)
        return re.findall(r"The page: (\S+)", self.said)[0]

    def look(self) -> None:
        """Measure once, if it still runs."""
        with contextlib.suppress(OSError, IndexError):
            self.vitals.look(self.process.pid)

    def end(self) -> dict[str, Any]:
        """Stop it; its figures."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        start = self.said.find("Traceback")
        return {
            "exit_code": code,
            **_summary(self.vitals),
            "left in its temporary folder": len(list(self.scratch.rglob("*"))),
            "tracebacks": self.said.count("Traceback"),
            "first_traceback": self.said[start : start + 2000] if start >= 0 else "",
        }


def main() -> None:
    """Run for the minutes on the command line; print and keep the figures."""
    minutes = float(sys.argv[1]) if sys.argv[1:] else 10.0
    command = in_a_network_of_its_own([sys.executable, "-m", "benchmarks.soak", str(minutes)])
    if command is not None and OWN_NETWORK not in os.environ:
        os.execvpe(command[0], command, {**os.environ, OWN_NETWORK: "1"})
    with tempfile.TemporaryDirectory(prefix="maskwatch-soak-") as place, contextlib.ExitStack() as stack:
        figures = _soak(Path(place), minutes, stack)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    codes = [figures[name]["exit_code"] for name in (LIVE, SERVE)]
    sys.exit(figures["unaccounted"] != 0 or any(codes))


def _soak(folder: Path, minutes: float, stack: contextlib.ExitStack) -> dict[str, Any]:
    broker, table = stack.enter_context(Broker()), stack.enter_context(Postgres())
    camera, hook = stack.enter_context(RtspCamera()), Hook()
    disk = stack.enter_context(small_disk(folder / "disk"))
    to_broker, to_table, to_camera, to_hook = (
        stack.enter_context(Line(port)) for port in (broker.port, table.port, camera.port, hook.server_port)
    )
    frames = [np.ascontiguousarray(np.roll(portrait(), 2 * step, axis=1)) for step in range(60)]
    clip = make_clip(folder / "face.mp4", frames, rate=Fraction(15))
    sinks = [
        str(disk / "events.jsonl"),
        _over(table.url, to_table),
        _over(broker.url, to_broker),
        f"http://127.0.0.1:{to_hook.port}/in",
    ]
    listener = Listener(broker)
    live = Program(folder, _live(folder, [_over(camera.url, to_camera), str(clip)], sinks))
    stack.callback(live.process.kill)
    serve = Program(folder, _serve(live.address(), sinks[1]))
    stack.callback(serve.process.kill)
    own_port = int(serve.address().rstrip("/").rsplit(":", 1)[1])
    to_serve = stack.enter_context(Line(own_port))
    lines = (to_broker, to_table, to_camera, to_hook, to_serve)
    site = Site(broker, table, camera, hook, disk, lines, to_broker, listener.wait, OWN_NETWORK in os.environ)
    happened: list[str] = []
    with Callers(to_serve.port, clip) as callers:
        time.sleep(3 * PAUSE_S)  # both have loaded everything and met all receivers by then
        ends = time.monotonic() + 60 * minutes
        for name, fault in itertools.cycle(faults(site).items()):
            if time.monotonic() > ends or not _watch((live, serve), 0.0):
                break
            with fault():
                _watch((live, serve), FAULT_S)
            happened.append(name)
            _watch((live, serve), PAUSE_S)
        _watch((live, serve), 3 * PAUSE_S)  # longest pause between tries included, all may arrive
    answered = callers.figures(to_serve.cut)
    _watch((live, serve), PAUSE_S)
    waiting = _still_waiting(own_port)
    figures = {"minutes": minutes, "faults": len(happened), "kinds": sorted(set(happened))}
    figures |= {SERVE: serve.end() | {"requests that still wait": waiting}, LIVE: live.end()}
    accounts = accounts_of(live.said, _arrived(disk, table, hook, listener))
    return {
        **figures,
        "callers": answered,
        **accounts,
        "unaccounted": accounts["unaccounted"] + answered["unaccounted"] + waiting,
        "server_said": serve.said[-3000:],
    }


def _live(folder: Path, sources: list[str], sinks: list[str]) -> list[str]:
    """`maskwatch live` with everything."""
    start = ["live", *sources, "--loop", "--port", "0", "--aggregate-every", "0.5"]
    start += ["--spool", str(folder / "spool")]
    return [*start, *itertools.chain.from_iterable(("--sink", sink) for sink in sinks)]


def _serve(live: str, database: str) -> list[str]:
    """`maskwatch serve` with the same cameras and events, and limits that are reached."""
    limits = ["--timeout", "10", "--max-waiting", "16", "--threads", "1"]
    return ["serve", "--port", "0", "--live", live, "--events", database, *limits]


def _over(url: str, line: Line) -> str:
    """The same address, over a line."""
    return url.replace(f":{line.target_port}/", f":{line.port}/")


def _still_waiting(port: int) -> int:
    """Requests that the server believes to be there, when nobody calls any more."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    values = re.findall(r"^maskwatch_requests_waiting(?:_bytes)? (\S+)", text, flags=re.MULTILINE)
    return int(sum(map(float, values)))


def _arrived(disk: Path, table: Postgres, hook: Hook, listener: Listener) -> dict[str, list[str]]:
    return {
        "file": [json.loads(line)["event_id"] for line in (disk / "events.jsonl").read_text().splitlines()],
        "table": _ids_in(table),
        "webhook": hook.ids,
        "broker": listener.ids,
    }


def _watch(programs: tuple[Program, ...], seconds: float) -> bool:
    """Measure for a while; whether all still run."""
    ends = time.monotonic() + seconds
    while all(program.process.poll() is None for program in programs):
        if time.monotonic() >= ends:
            return True
        for program in programs:
            program.look()
        time.sleep(LOOK_S)
    return False


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


def accounts_of(said: str, arrived: dict[str, list[str]]) -> dict[str, Any]:
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
    }


if __name__ == "__main__":
    main()

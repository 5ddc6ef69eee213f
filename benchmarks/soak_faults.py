"""The faults of `benchmarks.soak`: servers killed and stalled, a disk that fills, bad lines, lost packets."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.services.line import Line
from tests.services.servers import Broker, Postgres, RtspCamera

DISK_KB = 4096
LOSS = 0.2
Fault = Callable[[], contextlib.AbstractContextManager[None]]


class Ill(Protocol):
    """A webhook that can be told to answer 503."""

    ill: bool


@dataclass(frozen=True)
class Site:
    """All that can be hurt.

    Attributes:
        lines: between maskwatch and each of the servers, and between callers and the web server.
        back: waits until those who listen to the broker beside maskwatch are back.
        drops_packets: whether packets can be dropped here: in a network namespace of its own.
    """

    broker: Broker
    table: Postgres
    camera: RtspCamera
    hook: Ill
    disk: Path
    lines: Sequence[Line]
    broker_line: Line
    back: Callable[[], None]
    drops_packets: bool


def faults(site: Site) -> dict[str, Fault]:
    """Ways to hurt, by name; each is a context in which it hurts."""

    @contextlib.contextmanager
    def killed(server: Any) -> Iterator[None]:
        server.kill()
        try:
            yield
        finally:
            server.start()

    @contextlib.contextmanager
    def broker_killed() -> Iterator[None]:
        """Whoever counts what arrives is there again before maskwatch is: the broker forgets all."""
        with site.broker_line.being(is_closed=True), killed(site.broker):
            site.broker_line.reset()
            yield
        site.back()

    @contextlib.contextmanager
    def stalled() -> Iterator[None]:
        site.camera.stall()
        try:
            yield
        finally:
            site.camera.wake()

    @contextlib.contextmanager
    def ill() -> Iterator[None]:
        site.hook.ill = True
        try:
            yield
        finally:
            site.hook.ill = False

    @contextlib.contextmanager
    def lines(**values: object) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for line in site.lines:
                stack.enter_context(line.being(**values))
                if values.get("is_closed"):
                    line.reset()
            yield

    found: dict[str, Fault] = {
        "disk full": lambda: _full(site.disk),
        "broker killed": broker_killed,
        "webhook answers 503": ill,
        "database killed": lambda: killed(site.table),
        "camera stalled": stalled,
        "camera killed": lambda: killed(site.camera),
        "lines 0.4 s late": lambda: lines(delay_s=0.4),
        "lines of 8 kB/s": lambda: lines(bytes_per_s=8000.0),
        "lines silent": lambda: lines(is_silent=True),
        "lines cut after 5 kB": lambda: lines(cut_after=5000),
        "lines closed": lambda: lines(is_closed=True),
    }
    if site.drops_packets:
        found[f"{100 * LOSS:g} % of packets lost"] = lambda: _lost(site.lines, LOSS)
        found["all packets lost"] = lambda: _lost(site.lines, 1.0)
    return found


@contextlib.contextmanager
def _full(disk: Path) -> Iterator[None]:
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        (disk / "ballast").unlink()


@contextlib.contextmanager
def _lost(lines: Sequence[Line], share: float) -> Iterator[None]:
    """Drop this share of the packets to and from the lines."""
    ports = ",".join(str(line.port) for line in lines)
    rule = ["INPUT", "-p", "tcp", "-m", "multiport", "--ports", ports]
    if share < 1:
        rule += ["-m", "statistic", "--mode", "random", "--probability", str(share)]
    subprocess.run(["iptables", "-w", "-A", *rule, "-j", "DROP"], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule, "-j", "DROP"], check=True)


def in_a_network_of_its_own(command: Sequence[str]) -> list[str] | None:
    """`command` in a network namespace, where packets can be dropped; None where that is not possible."""
    if shutil.which("iptables") is None:
        return None
    start = 'ip link set lo up && exec "$@"'
    whole = ["unshare", "--net", "--", "sh", "-c", start, "sh", *command]
    rule = "INPUT -p tcp -m multiport --ports 1 -m statistic --mode random --probability 0.5 -j DROP"
    probe = ["unshare", "--net", "--", "sh", "-c", f"ip link set lo up && iptables -A {rule}"]
    possible = subprocess.run(probe, check=False, capture_output=True).returncode == 0
    return whole if possible else None


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `DISK_KB`, in memory."""
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

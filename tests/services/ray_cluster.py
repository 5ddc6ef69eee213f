"""A Ray cluster of several nodes on this machine, whose processes can be killed one by one or by node."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from typing_extensions import Self

from tests.services.servers import free_port, missing, wait_until

TRIES = 4
SETTINGS = ("--disable-usage-stats", "--object-store-memory=100000000")


class RayCluster:
    """A head node and others, of one CPU each; a context manager."""

    def __init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            missing("ray")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mwray", dir="/tmp"))  # sockets need short paths
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self.environment = {
            **os.environ,
            "RAY_agent_register_timeout_ms": "120000",  # a busy machine may need it
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }

    @property
    def address(self) -> str:
        return f"{self._host(1)}:{self.port}"

    def __enter__(self) -> Self:
        try:
            head = ("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
            self._start(*head)
            self.add_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _host(number: int) -> str:
        """Loopback too, but not 127.0.0.1, for which Ray takes the machine's address in the network."""
        return f"127.0.0.{1 + number}"

    def add_node(self) -> subprocess.Popen[bytes]:
        """One more node, when it is part of the cluster."""
        return self._start(f"--address={self.address}")

    def kill_node(self, node: subprocess.Popen[bytes]) -> None:
        """A whole node, without warning."""
        self.nodes.remove(node)
        kill_tree(node.pid)
        node.wait()

    def actors(self, name: str, node: subprocess.Popen[bytes] | None = None) -> list[int]:
        """Process ids of the actors of a class, on one node or all."""
        nodes = self.nodes if node is None else [node]
        wanted = name.encode()
        return [
            pid
            for one in nodes
            for pid in descendants(one.pid)
            if command_of(pid).startswith(b"ray::") and wanted in command_of(pid)
        ]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        for _ in range(TRIES):
            self._started += 1
            at = f"--node-ip-address={self._host(len(self.nodes) + 1)}"
            said = self.folder / f"node{self._started}.txt"
            with said.open("wb") as log:
                node = subprocess.Popen(
                    [*command, *SETTINGS, at, *arguments],
                    stdout=log,
                    stderr=log,
                    env=self.environment,
                    start_new_session=True,
                )
            self.nodes.append(node)
            wait_until(partial(_has_started_or_ended, node, said), 180)
            if node.poll() is None:
                return node
            self.kill_node(node)  # Ray gives a node 30 s to start, which a busy machine may need longer for
        raise AssertionError(said.read_text())


def _has_started_or_ended(node: subprocess.Popen[bytes], said: Path) -> bool:
    return b"Ray runtime started" in said.read_bytes() or node.poll() is not None


def command_of(pid: int) -> bytes:
    """Arguments of a process, NUL between them; nothing for one that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def descendants(root: int) -> list[int]:
    """Process ids of all children, and theirs."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def kill_tree(root: int) -> None:
    """A process and all below it, at once."""
    for pid in [root, *descendants(root)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

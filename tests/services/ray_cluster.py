"""A Ray cluster of several nodes on this machine, whose processes can be killed one by one or by node."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.servers import free_port, missing, wait_until

SETTINGS = ("--disable-usage-stats", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1")


class RayCluster:
    """A head node and others, of one CPU each; a context manager."""

    def __init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            missing("ray")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mwray", dir="/tmp"))  # sockets need short paths
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self.environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._start("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self.add_node()
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

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
        self._started += 1
        said = self.folder / f"node{self._started}.txt"
        with said.open("wb") as log:
            node = subprocess.Popen(
                [*command, *SETTINGS, *arguments],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self.nodes.append(node)
        wait_until(lambda: b"Ray runtime started" in said.read_bytes() or node.poll() is not None, 180)
        assert node.poll() is None, said.read_text()
        return node


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

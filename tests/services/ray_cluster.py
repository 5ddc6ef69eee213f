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

from tests.services.servers import answers, free_port, missing, wait_until

SETTINGS = ("--disable-usage-stats", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1")


class RayCluster:
    """A head node and others, of one CPU each; a context manager."""

    def __init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            missing("ray")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mwray", dir="/tmp"))  # sockets need short paths
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._start("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        wait_until(lambda: answers(self.port), 120)
        self.add_node()
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            kill_tree(node.pid)
            node.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_node(self) -> subprocess.Popen[bytes]:
        """One more node, when it is part of the cluster."""
        node = self._start(f"--address={self.address}")
        wait_until(lambda: self.raylet(node) is not None, 120, every_s=0.2)
        count = len(self.nodes)
        wait_until(lambda: self._alive() >= count, 120, every_s=1.0)
        return node

    def kill_node(self, node: subprocess.Popen[bytes]) -> None:
        """A whole node, without warning."""
        self.nodes.remove(node)
        kill_tree(node.pid)
        node.wait()

    def raylet(self, node: subprocess.Popen[bytes]) -> int | None:
        """The process id of a node's manager."""
        found = [pid for pid in descendants(node.pid) if b"/raylet" in command_of(pid).split(b"\0")[0]]
        return found[0] if found else None

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

    def _alive(self) -> int:
        code = (
            f"import ray; ray.init('{self.address}', logging_level='ERROR', log_to_driver=False);"
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=self.environment, timeout=120
        )
        return int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.split() else 0

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        log = (self.folder.parent / f"{self.folder.name}-{len(self.nodes)}.log").open("wb")
        with log:
            node = subprocess.Popen(
                [*command, *SETTINGS, *arguments],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self.nodes.append(node)
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

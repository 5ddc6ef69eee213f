"""`batch` and `watch` on a real Ray cluster of two nodes whose processes are killed at work."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from fractions import Fraction

import pytest
from typing_extensions import Self

from maskwatch.batch import run_batch
from tests.batches import LOCAL, OPTIONS, digests, make_pictures
from tests.clips import make_clip
from tests.commands import COMMAND, ENVIRONMENT
from tests.services.ray_cluster import RayCluster
from tests.services.servers import wait_until
from tests.test_cli_video import scene

PATIENCE_S = 240.0
"""A cluster takes its time to start workers, on a busy machine above all."""


@pytest.fixture(scope="module")
def cluster():
    with RayCluster() as cluster:
        yield cluster


class Command:
    """`maskwatch …` as a process; what it says is collected line by line."""

    def __init__(self, cluster: RayCluster, *arguments: object) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--address", cluster.address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **cluster.environment},
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A test that failed in the middle leaves no process behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.end()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)

    def says(self, words: str) -> bool:
        assert self.process.poll() is None, self.text
        return words in self.text

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._thread.join()
        self.process.stderr.close()
        return code


@pytest.fixture
def start(cluster):
    """Starts commands on the cluster; those that a failed test left running are ended."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Command(cluster, *arguments))


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def write_cameras(folder, clip, *names: str):
    """A configuration of cameras that play `clip` for ever, and the file of their events."""
    folder.mkdir()
    config, events = folder / "cameras.toml", folder / "events.jsonl"
    cameras = "".join(
        f'[cameras.{name}]\nsource = "{clip}"\nloop = true\nfps = 2\nsinks = ["{events}"]\n' for name in names
    )
    config.write_text(f'spool = "{folder / "spool"}"\n{cameras}')
    return config, events


def started(events) -> set[str]:
    """The cameras whose events have begun."""
    if not events.exists():
        return set()
    rows = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return {row["source_id"] for row in rows if row["kind"] == "start"}


def test_cameras_do_not_wait_for_a_host_that_finds_no_place(cluster, start, tmp_path, astronaut):
    clip = make_clip(tmp_path / "door.mp4", [scene(astronaut, step) for step in range(30)], rate=Fraction(15))
    config, events = write_cameras(tmp_path / "first", clip, "door")
    first = start("watch", config, "--workers", 1)
    wait_until(lambda: first.says("") and started(events) == {"door"}, PATIENCE_S)
    config, events = write_cameras(tmp_path / "second", clip, "gate", "hall")
    second = start("watch", config)  # counts two CPUs, of which the first has one
    wait_until(lambda: second.says("") and started(events) == {"gate", "hall"}, PATIENCE_S)
    wait_until(lambda: second.says("does not answer"), PATIENCE_S)
    assert second.end(signal.SIGTERM) == 0, second.text
    assert first.end(signal.SIGTERM) == 0, first.text


def test_a_batch_outlives_a_worker_and_a_node(cluster, start, tmp_path, astronaut, masked):
    pictures = make_pictures(tmp_path / "in", astronaut, masked, 62)
    run_batch([str(pictures)], str(tmp_path / "clean"), OPTIONS, LOCAL)
    out = tmp_path / "out"
    settings = ("--part-size", OPTIONS.part_size, "--max-side", OPTIONS.max_side)
    command = start("batch", pictures, "-o", out, *settings)

    def parts_done() -> int:
        assert command.process.poll() is None, command.text
        folder = out / "_maskwatch" / "parts"
        return sum(path.suffix == ".json" for path in folder.iterdir()) if folder.is_dir() else 0

    wait_until(lambda: parts_done() >= 1, PATIENCE_S)
    victim = cluster.actors("_RayWorker")[0]
    kill(victim)
    wait_until(lambda: parts_done() >= 3, PATIENCE_S)
    cluster.kill_node(cluster.nodes[-1])
    left = 16 - parts_done()
    assert command.end() == 0, command.text
    assert left > 0, "all was done before the node died: the test shows nothing"
    assert digests(out) == digests(tmp_path / "clean")
    assert "64 images (2 unreadable)" in command.text
    cluster.add_node()


def test_cameras_outlive_a_worker_and_a_node(cluster, start, tmp_path, astronaut):
    clip = make_clip(tmp_path / "door.mp4", [scene(astronaut, step) for step in range(30)], rate=Fraction(15))
    config, events = write_cameras(tmp_path / "all", clip, "door", "gate", "hall")
    # not one a CPU: for some seconds Ray still counts the node that the test before has killed
    command = start("watch", config, "--workers", 2)

    wait_until(lambda: command.process.poll() is not None or len(started(events)) == 3, PATIENCE_S)
    assert started(events) == {"door", "gate", "hall"}, command.text
    config.write_text(config.read_text().replace("[cameras.hall]", "[cameras.yard]"))
    wait_until(lambda: command.says("yard is watched"), PATIENCE_S)
    kill(cluster.actors("CameraHost")[0])
    wait_until(lambda: command.says("was started again"), PATIENCE_S)
    wait_until(lambda: len(cluster.actors("CameraHost")) == 2, PATIENCE_S)
    cluster.kill_node(cluster.nodes[-1])
    wait_until(lambda: command.says("go to other hosts"), PATIENCE_S)
    moved = re.search(r"its cameras \((.*)\) go to other hosts", command.text).group(1).split(", ")

    def are_watched_again() -> bool:
        since = command.text.partition("go to other hosts")[2]
        return all(command.says("") and f"{name} is watched" in since for name in moved)

    wait_until(are_watched_again, PATIENCE_S)
    assert command.end(signal.SIGTERM) == 0, command.text
    farewells = {line.split(":")[0] for line in command.lines if "pictures looked at" in line}
    assert farewells >= {"door", "gate", "yard"}, command.text
    assert "Traceback" not in command.text


def test_no_cluster_is_one_sentence(tmp_path, astronaut, masked):
    pictures = make_pictures(tmp_path / "in", astronaut, masked, 2)
    done = subprocess.run(
        [*COMMAND, "batch", str(pictures), "-o", str(tmp_path / "out"), "--address", "127.0.0.1:9"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "no cluster can be joined" in done.stderr
    assert "Traceback" not in done.stderr

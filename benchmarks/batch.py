"""`maskwatch batch` beside a plain loop and a multiprocessing pool; what interruptions and deaths change.

20,000 JPEGs are crops of the training photos. Rates are of whole runs, and of the part between the first
and the last result, which leaves out start-up. Memory is the sum over all processes of a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.services.ray_cluster import RayCluster, descendants

from maskwatch import DetectOptions, Detector
from maskwatch.batch.plan import FOLDER
from maskwatch.batch.store import Store

ROUNDS = 3
COUNT = int(os.environ.get("MASKWATCH_BENCH_PICTURES", "20000"))
COMMAND = (sys.executable, "-c", "from maskwatch.cli.app import main; main()", "batch")
FEW = min(COUNT, int(os.environ.get("MASKWATCH_BENCH_DEATHS", "1500")))
SMALL = ("--part-size", "25", "--workers", "2", "-q")
SIDES = (256, 320, 384, 448, 512, 640)


def run(shared: Path) -> dict[str, Any]:
    """Rates beside two plain loops at once, in turns; then all pictures, for memory and equal bytes."""
    with tempfile.TemporaryDirectory(prefix="maskwatch-bench", dir=_runs()) as name:
        folder = Path(name)
        some = make_crops(shared, _runs() / f"crops-{COUNT // 8}", COUNT // 8)
        figures: dict[str, Any] = {"pictures": COUNT, "rounds": in_turns(some, folder, ROUNDS)}
        figures["processor time"] = processor_time(shared, folder)
        print(_rounded(figures["processor time"]), flush=True)
        pictures = make_crops(shared, _runs() / f"crops-{COUNT}", COUNT)
        figures["all, local"] = _command(pictures, folder / "local", "--local")
        figures["all, Ray"] = _command(pictures, folder / "ray")
        figures["all, same bytes"] = _same(folder / "local", folder / "ray")
        for key, value in figures.items():
            print(key, _rounded(value))
    return figures


def processor_time(shared: Path, folder: Path) -> dict[str, float]:
    """Pictures a second of processor time, which other programs on the machine hardly change.

    For the command, of what 2,000 pictures cost more than 400, so that start-up is left out as in the
    loop. The ratio bounds what two workers on two free cores can reach beside two loops.
    """
    few, many = (make_crops(shared, _runs() / f"crops-{count}", count) for count in (400, 2000))
    costs = []
    loops = plain_loops(many)["images/CPU s"]
    for pictures in (few, many):
        before_s = _children_cpu_s()
        _command(pictures, folder / f"cpu-{pictures.name}", "--local", part_size=100)
        costs.append(_children_cpu_s() - before_s)
    again = plain_loops(many)["images/CPU s"]
    ours = 1600 / (costs[1] - costs[0])
    return {
        "loop, images/CPU s": (loops + again) / 2,
        "loop again ÷ loop": again / loops,
        "local, images/CPU s": ours,
        "local ÷ loop": ours / ((loops + again) / 2),
        "start-up, CPU s": costs[0] - 400 / ours,
    }


def in_turns(pictures: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Loop × 2, `--local`, Ray and a pool, one after the other, again and again; median ratios.

    "Loop × 2" is two plain loops at the same time, each on half of the pictures, so that whatever else
    the machine does hits all alike. CPU figures are pictures a second of processor time.
    """
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        loops = plain_loops(pictures)
        local = _command(pictures, folder / f"local{number}", "--local", part_size=100)
        ray = _command(pictures, folder / f"ray{number}", part_size=100)
        again = plain_loops(pictures)
        own = pool(pictures, folder / "pool.parquet")
        wall, cpu = ((loops[key] + again[key]) / 2 for key in ("images/s", "images/CPU s"))
        row = {
            "local, steady": local["steady, images/s"] / wall,
            "local, whole run": local["whole, images/s"] / wall,
            "local, CPU": local["images/CPU s"] / cpu,
            "Ray, steady": ray["steady, images/s"] / wall,
            "Ray, whole run": ray["whole, images/s"] / wall,
            "pool, steady": own["steady, images/s"] / wall,
            "pool, whole run": own["whole, images/s"] / wall,
            "loops again": again["images/s"] / loops["images/s"],
        }
        print(number, f"loop × 2: {wall:.1f} images/s;", _rounded(row), flush=True)
        for key, value in row.items():
            ratios.setdefault(key, []).append(value)
    return {f"{key} ÷ (loop × 2), median": float(np.median(values)) for key, values in ratios.items()}


def run_interruptions(shared: Path) -> dict[str, Any]:
    """A job that is killed at ten random moments, and one that is not: the same bytes."""
    with tempfile.TemporaryDirectory(prefix="maskwatch-bench", dir=_runs()) as name:
        folder = Path(name)
        pictures = make_crops(shared, _runs() / f"crops-{FEW}", FEW)
        began = time.monotonic()
        _finish(pictures, folder / "clean", "--local")
        clean_s = time.monotonic() - began
        figures: dict[str, Any] = {"pictures": FEW, "clean": sums(folder / "clean")}
        figures["parts done after each"] = _interrupt(pictures, folder / "out", clean_s, times=10)
        return _compared(folder, figures)


def run_deaths(shared: Path) -> dict[str, Any]:
    """A Ray cluster of two nodes that loses a worker, then a node, at work: the same bytes and sums."""
    with tempfile.TemporaryDirectory(prefix="maskwatch-bench", dir=_runs()) as name:
        folder = Path(name)
        pictures = make_crops(shared, _runs() / f"crops-{FEW}", FEW)
        _finish(pictures, folder / "clean", "--local")
        figures: dict[str, Any] = {"pictures": FEW, "clean": sums(folder / "clean")}
        figures |= _kill_in_cluster(pictures, folder / "out")
        return _compared(folder, figures)


def _compared(folder: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """With what was the same; fails if anything was not."""
    figures["hurt"] = sums(folder / "out")
    figures["same sums"] = figures["hurt"] == figures["clean"]
    figures["same bytes"] = _same(folder / "clean", folder / "out")
    for key, value in figures.items():
        print(key, _rounded(value))
    if not (figures["same sums"] and figures["same bytes"]):
        raise RuntimeError("an interruption changed the result")
    return figures


def make_crops(shared: Path, folder: Path, count: int) -> Path:
    """`count` JPEGs, windows of the training photos, the same every time; kept for the next run."""
    if len(list(folder.rglob("*.jpg"))) == count:
        return folder
    rng = np.random.default_rng(7)
    photos = sorted((shared / "data" / "train" / "images").iterdir())
    made = 0
    for photo in itertools.cycle(photos):
        image = cv2.imread(str(photo))
        if image is None:
            continue
        for _ in range(max(1, -(-count // len(photos)))):
            side = int(rng.choice(SIDES))
            height, width = (min(side, one) for one in image.shape[:2])
            top = int(rng.integers(0, image.shape[0] - height + 1))
            left = int(rng.integers(0, image.shape[1] - width + 1))
            target = folder / f"{made // 1000:03d}" / f"{made:06d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), image[top : top + height, left : left + width])
            made += 1
            if made == count:
                return folder
    raise AssertionError("unreachable")


def plain_loops(folder: Path) -> dict[str, float]:
    """`for path in paths: detector.detect(path)` in two processes at once, start-up left out."""
    code = (
        "import sys, time, pathlib; from maskwatch import Detector, DetectOptions;"
        "paths = sorted(pathlib.Path(sys.argv[1]).rglob('*.jpg'))[int(sys.argv[2])::2];"
        "detector = Detector(options=DetectOptions(threads=1));"
        "[detector.detect(path) for path in paths[:20]]; print('ready', flush=True); input();"
        "began, cpu = time.perf_counter(), time.process_time();"
        "[detector.detect(path) for path in paths];"
        "print(len(paths), time.perf_counter() - began, time.process_time() - cpu)"
    )
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(half)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for half in (0, 1)
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("\n")
        loop.stdin.flush()
    found = [tuple(map(float, loop.communicate()[0].split())) for loop in loops]
    return {
        "images/s": sum(count / wall_s for count, wall_s, _ in found),
        "images/CPU s": sum(one[0] for one in found) / sum(one[2] for one in found),
    }


def pool(folder: Path, target: Path) -> dict[str, float]:
    """What people write by themselves: a pool of two processes and one table at the end."""
    began = time.perf_counter()
    paths = sorted(map(str, folder.rglob("*.jpg")))
    times, rows = [], []
    with multiprocessing.get_context("spawn").Pool(2, _load) as processes:
        for found in processes.imap_unordered(_detect, paths, chunksize=32):
            times.append(time.perf_counter())
            rows += found
    pq.write_table(pa.Table.from_pylist(rows), target)
    ended = time.perf_counter()
    return {
        "whole, images/s": len(paths) / (ended - began),
        "steady, images/s": (len(times) - 1) / (times[-1] - times[0]),
    }


_loaded: list[Detector] = []


def _load() -> None:
    _loaded.append(Detector(options=DetectOptions(threads=1)))


def _detect(path: str) -> list[dict[str, Any]]:
    return [{"path": path, **face} for face in _loaded[0].detect(path).to_dicts()]


def _command(pictures: Path, out: Path, *more: str, part_size: int = 500) -> dict[str, Any]:
    """The command with two workers: its rates, and memory by quarter of its time."""
    began, cpu_before_s = time.time(), _children_cpu_s()
    size = ("--workers", "2", "--part-size", str(part_size))
    process = subprocess.Popen([*COMMAND, str(pictures), "-o", str(out), "-q", *size, *more])
    memory: list[tuple[float, float]] = []
    while process.poll() is None:
        memory.append((time.time() - began, _resident_mib(process.pid)))
        time.sleep(0.5)
    wall_s = time.time() - began
    if process.returncode:
        raise RuntimeError(f"{more}: exit code {process.returncode}")
    receipts = sorted((out / FOLDER / "parts").iterdir(), key=lambda path: path.stat().st_mtime)
    first_s, last_s = (receipts[at].stat().st_mtime for at in (0, -1))
    counts = [json.loads(path.read_bytes())["summary"]["images"] for path in receipts]
    figures: dict[str, Any] = {
        "whole, images/s": sum(counts) / wall_s,
        "steady, images/s": sum(counts[1:]) / (last_s - first_s) if last_s > first_s else 0.0,
        "images/CPU s": sum(counts) / max(_children_cpu_s() - cpu_before_s, 1e-9),
        "to the first part, s": first_s - began,
    }
    for quarter in range(4):
        inside = [mib for at_s, mib in memory if quarter <= 4 * at_s / wall_s < quarter + 1]
        figures[f"memory in quarter {quarter + 1}, MiB"] = float(np.median(inside)) if inside else 0.0
    return figures


def _children_cpu_s() -> float:
    """Processor time of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _finish(pictures: Path, out: Path, *more: str) -> None:
    subprocess.run([*COMMAND, str(pictures), "-o", str(out), *SMALL, *more], check=True)


def _interrupt(pictures: Path, out: Path, clean_s: float, times: int) -> list[int]:
    """Kill the job at random moments, then let it end; how many parts were done after each life."""
    rng = random.Random(11)
    found = []
    for number in range(times):
        process = subprocess.Popen(
            [*COMMAND, str(pictures), "-o", str(out), *SMALL, "--local"], start_new_session=True
        )
        time.sleep(rng.uniform(0.1, 0.6) * clean_s)
        if process.poll() is None:
            how = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[number % 3]
            if how == signal.SIGKILL:
                os.killpg(process.pid, how)
            else:
                process.send_signal(how)
        process.wait()
        found.append(len(list((out / FOLDER / "parts").glob("*.json"))))
    _finish(pictures, out, "--local")
    return found


def _kill_in_cluster(pictures: Path, out: Path) -> dict[str, Any]:
    """Two nodes: kill −9 a worker, then all processes of a node, while they work."""
    with RayCluster() as cluster:
        size = ("--part-size", "25", "-q", "--address", cluster.address)
        process = subprocess.Popen([*COMMAND, str(pictures), "-o", str(out), *size], env=cluster.environment)

        def done() -> int:
            return len(list((out / FOLDER / "parts").glob("*.json")))

        def until(parts: int) -> int:
            while done() < parts:
                if process.poll() is not None:
                    raise RuntimeError("the job ended too early to be hurt")
                time.sleep(0.1)
            return done()

        figures = {"worker killed after parts": until(3)}
        os.kill(cluster.actors("_RayWorker")[0], signal.SIGKILL)
        figures["node killed after parts"] = until(9)
        cluster.kill_node(cluster.nodes[-1])
        figures["exit code"] = process.wait()
    return figures


def sums(out: Path) -> dict[str, float]:
    """Row counts and sums of both tables."""
    images, faces = pq.read_table(out / "images"), pq.read_table(out / "faces")
    return {
        "images": images.num_rows,
        "distinct": len(set(images["index"].to_pylist())),
        "bytes": sum(images["bytes"].to_pylist()),
        "faces": faces.num_rows,
        "score": float(np.sum(faces["score"].to_numpy().astype(np.float64))),
        "x1": float(np.sum(faces["x1"].to_numpy().astype(np.float64))),
    }


def _same(first: Path, second: Path) -> bool:
    return _digests(first) == _digests(second)


def _digests(out: Path) -> dict[str, str]:
    store = Store(str(out))
    names = [
        f"{folder}/{name}"
        for folder in ("images", "faces", f"{FOLDER}/parts")
        for name in store.names(folder)
    ]
    return {name: hashlib.sha256(store.read(name) or b"").hexdigest() for name in [*names, "manifest.json"]}


def _resident_mib(root: int) -> float:
    """Proportional memory of a process and all below it."""
    total = 0
    for pid in [root, *descendants(root)]:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _runs() -> Path:
    folder = Path("runs").absolute()
    folder.mkdir(exist_ok=True)
    return folder


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return round(value, 3) if isinstance(value, float) else value

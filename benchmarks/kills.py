"""Kill commands that write, at many points, start them again, and look at what is on the disk.

    python -m benchmarks.kills POINTS [COMMAND …]

Half of the points are just before the n-th operation on files (open for writing, rename, delete, make a
folder), the others at random times. After each kill, every file under a final name must be whole; after the
same command has run once more, all must be there, and nothing that was committed before may be missing.
Commands run in forks of this process, which has imported everything already.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from tests.clips import make_clip

from benchmarks.bad_media import readable_frames
from benchmarks.corpus import portrait
from maskwatch.synthesis import canonical_landmarks, draw_mask

RESULTS = Path("runs") / "benchmarks"
LONGEST_S = 300.0
_WATCHED = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "shutil.rmtree",
    "sqlite3.connect",
    "os.truncate",
)


@dataclass(frozen=True)
class Command:
    """One command of maskwatch that writes.

    Attributes:
        prepare: makes inputs in a fresh folder.
        arguments: of the command, for that folder.
        troubles: what is wrong in the folder; the second argument says whether the command has ended.
        committed: what must still be there after the next run, as comparable things.
    """

    prepare: Callable[[Path], None]
    arguments: Callable[[Path], list[str]]
    troubles: Callable[[Path, bool], list[str]]
    committed: Callable[[Path], set[str]] = lambda folder: set()


def main() -> None:
    """Kill all commands, or those named; print a table and keep it as JSON."""
    points = int(sys.argv[1]) if sys.argv[1:] else 20
    _import_all(torch=any("train" in name for name in sys.argv[2:]))
    named = sys.argv[2:] or [name for name in COMMANDS if not name.startswith("train")]
    figures = {name: try_command(name, COMMANDS[name], points) for name in named}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "kills.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print("| command | kill points | died of it | half files | losses |")
    print("|---|---|---|---|---|")
    for name, row in figures.items():
        cells = (row["points"], row["killed"], len(row["half"]), len(row["lost"]))
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    for name, row in figures.items():
        for words in row["half"] + row["lost"]:
            print(f"{name}: {words}", file=sys.stderr)
    sys.exit(any(row["half"] or row["lost"] for row in figures.values()))


def _import_all(*, torch: bool) -> None:
    """What commands import when they run, so that a fork is at work at once. No thread is started by it."""
    names = [
        "cli.app",
        "detector",
        "pipeline",
        "evaluate",
        "sinks.recorder",
        "sinks.database",
        "curation.crops",
    ]
    names += ["training.run", "training.classifier.run"] if torch else []
    for name in names:
        importlib.import_module(f"maskwatch.{name}")


def try_command(name: str, command: Command, points: int) -> dict[str, Any]:
    """Kill one command at `points` points; what was found afterwards."""
    row: dict[str, Any] = {"points": points, "killed": 0, "half": [], "lost": []}
    rng = random.Random(name)
    with tempfile.TemporaryDirectory(prefix="maskwatch-kills-") as place:
        whole = _fresh(command, Path(place), "whole")
        operations, seconds = run(command, whole)
        row["lost"] += [f"unharmed: {words}" for words in command.troubles(whole, True)]
        for point in range(points):
            folder = _fresh(command, Path(place), f"p{point}")
            if point % 2:
                words, at = f"after {(delay := rng.uniform(0, seconds)):.3f} s", {"after_s": delay}
            else:
                number = 1 + (point * operations) // max(1, points) if points > 1 else operations // 2
                words, at = f"before file operation {number} of {operations}", {"before": number}
            ended, _ = run(command, folder, **at)  # type: ignore[arg-type]
            row["killed"] += ended < 0
            row["half"] += [f"killed {words}: {found}" for found in command.troubles(folder, False)]
            before = command.committed(folder)
            run(command, folder)
            row["lost"] += [f"killed {words}: {found}" for found in command.troubles(folder, True)]
            row["lost"] += [f"killed {words}: {one} is gone" for one in before - command.committed(folder)]
            shutil.rmtree(folder)
    return row


def _fresh(command: Command, place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    command.prepare(folder)
    return folder


def run(
    command: Command, folder: Path, *, before: int | None = None, after_s: float | None = None
) -> tuple[int, float]:
    """Run to the end, or to a kill: (file operations counted, or -1 if killed; seconds)."""
    count = folder / "operations"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(command.arguments(folder), folder / "said.txt", count, before)
    timer = threading.Timer(LONGEST_S if after_s is None else after_s, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    timer.join()
    seconds = time.monotonic() - started
    if os.WIFSIGNALED(status):
        return -1, seconds
    return int(count.read_text()) if count.exists() else 0, seconds


def _be_the_command(arguments: list[str], said: Path, count: Path, before: int | None) -> None:
    """In the fork: become `maskwatch …`; never returns."""
    operations = 0

    def watch(event: str, values: tuple[Any, ...]) -> None:
        nonlocal operations
        if event == "open":
            if not isinstance(values[2], int) or not values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _WATCHED:
            return
        operations += 1
        if operations == before:
            os.kill(os.getpid(), signal.SIGKILL)

    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["maskwatch", *arguments]
    code = 1
    try:
        from maskwatch.cli.app import main as run_main

        sys.addaudithook(watch)
        run_main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        done = operations
        before = None
        count.write_text(str(done))
        os._exit(code or 0)


def _is_whole_picture(path: Path) -> bool:
    try:
        with PIL.Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):
        return False
    return True


def _half_files(folder: Path) -> list[str]:
    """Files under final names that are not whole."""
    troubles = []
    for path in sorted(folder.rglob("*")):
        if ".partial" in path.name or ".partial" in str(path.relative_to(folder)) or path.is_dir():
            continue
        kind = path.suffix.lower()
        if kind in (".jpg", ".png") and not _is_whole_picture(path):
            troubles.append(f"half a picture {path.name}")
        if kind == ".json":
            try:
                json.loads(path.read_text())
            except ValueError:
                troubles.append(f"half a file {path.name}")
        if kind == ".mp4" and ".part." not in path.name and readable_frames(path) == 0:
            troubles.append(f"half a video {path.name}")
    return troubles


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _pictures(folder: Path) -> None:
    """Four pictures in two class folders, with COCO labels beside."""
    bare = portrait()
    landmarks = canonical_landmarks(np.array([120, 50, 220, 190], np.float32))
    images, annotations = [], []
    for number in range(8):
        label = number % 2
        worn = draw_mask(bare, landmarks, rng=np.random.default_rng(number)) if label else bare
        image = np.roll(worn, 3 * number, axis=1)
        path = folder / "in" / ("with_mask" if label else "without_mask") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
        flat = folder / "coco" / "images" / f"{number}.png"
        flat.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, flat)
        images.append({"id": number, "file_name": flat.name, "width": 320, "height": 240})
        box = [110, 40, 110, 150]
        annotations.append({"id": number, "image_id": number, "category_id": 1 + (label == 0), "bbox": box})
    categories = [{"id": 1, "name": "with_mask"}, {"id": 2, "name": "without_mask"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco" / "annotations.json").write_text(json.dumps(content))


def _tiny_options(folder: Path) -> None:
    _pictures(folder)
    (folder / "options.json").write_text(_TINY)


def _patterns(folder: Path) -> None:
    """Eight pictures that are not alike, in two class folders."""
    rng = np.random.default_rng(0)
    for number in range(8):
        cells = PIL.Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        path = folder / "in" / ("with_mask", "without_mask")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cells.resize((96, 96)).save(path)


def _clip(folder: Path) -> None:
    frames = [np.ascontiguousarray(np.roll(portrait(), 2 * step, axis=1)) for step in range(45)]
    make_clip(folder / "walk.mp4", frames, rate=Fraction(15))


def _missing(folder: Path, ended: bool, wanted: int, place: str) -> list[str]:
    """What a folder that is written as a whole lacks."""
    found = len(_names(folder / place)) if (folder / place).is_dir() else 0
    if found in (0, wanted) and (found or not ended):
        return []
    return [f"{place} holds {found} of {wanted} files"]


def _of_image(folder: Path, ended: bool) -> list[str]:
    out = folder / "out"
    troubles = _half_files(out) if out.is_dir() else []
    if ended and not troubles:
        written = out / "faces.json"
        images = json.loads(written.read_text())["images"] if written.is_file() else []
        faces = [len(image["faces"]) for image in images]  # a crop of each, and 8 annotated pictures
        if len(faces) != 8 or min(faces) < 1 or len(_names(out)) != 8 + sum(faces) + 2:
            troubles.append(f"{len(_names(out))} outputs for {faces} faces")
    return troubles


def _of_video(folder: Path, ended: bool) -> list[str]:
    out = folder / "out"
    troubles = _half_files(out) if out.is_dir() else []
    done = readable_frames(out / "copy.mp4") if (out / "copy.mp4").exists() else 0
    if done not in (0, 45) or (ended and done != 45):
        troubles.append(f"copy.mp4 has {done} frames")
    if ended:
        lines = (out / "lines.jsonl").read_text().splitlines()
        if sum('"frame"' in line for line in lines) != 45:
            troubles.append("lines.jsonl lacks frames")
    if ended and (left := [name for name in _names(out) if "part" in name]):
        troubles.append(f"left behind: {left}")
    return troubles


def _stored(folder: Path) -> dict[str, list[str]]:
    """Ids of events by where they are: in the file, in the table."""
    found: dict[str, list[str]] = {"jsonl": [], "db": []}
    if (folder / "events.jsonl").exists():
        for line in (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]:
            found["jsonl"].append(json.loads(line)["event_id"])
    if (folder / "events.db").exists():
        db = sqlite3.connect(folder / "events.db")
        for table in ("maskwatch_events", "maskwatch_aggregates"):
            try:
                rows = db.execute(f"SELECT event_id FROM {table}").fetchall()
            except sqlite3.OperationalError:  # killed before the tables were made
                rows = []
            found["db"] += [row[0] for row in rows]
        db.close()
    return found


def _waiting(folder: Path) -> set[str]:
    ids: set[str] = set()
    for path in (folder / "spool").glob("*.db"):
        db = sqlite3.connect(path)
        try:
            ids |= {row[0] for row in db.execute("SELECT event_id FROM waiting")}
        except sqlite3.OperationalError:
            ids |= set()  # killed before the table was made
        db.close()
    return ids


def _of_live(folder: Path, ended: bool) -> list[str]:
    troubles = []
    for name, ids in _stored(folder).items():
        if len(ids) != len(set(ids)):
            troubles.append(f"{len(ids) - len(set(ids))} events twice in {name}")
    if ended and _waiting(folder):
        troubles.append(f"{len(_waiting(folder))} events still wait")
    return troubles


def _committed_live(folder: Path) -> set[str]:
    """Each event that is on the disk anywhere must reach a receiver in the end; those delivered stay."""
    stored = _stored(folder)
    return (
        {f"jsonl:{one}" for one in stored["jsonl"]}
        | {f"db:{one}" for one in stored["db"]}
        | {f"any:{one}" for one in (*stored["jsonl"], *stored["db"], *_waiting(folder))}
    )


def _of_run(model: str) -> Callable[[Path, bool], list[str]]:
    def troubles(folder: Path, ended: bool) -> list[str]:
        found = _half_files(folder / "run") if (folder / "run").is_dir() else []
        path = folder / "run" / model
        if path.exists():
            from maskwatch import MaskwatchError
            from maskwatch.onnx_file import read_onnx

            try:
                read_onnx(path.read_bytes(), str(path))
            except MaskwatchError as error:
                found.append(str(error))
        elif ended:
            found.append(f"no {model}: {(folder / 'said.txt').read_text()[-300:]}")
        return found

    return troubles


def _keras(folder: Path) -> None:
    from tests.fuzz.seeds import keras_files

    (folder / "net.keras").write_bytes(keras_files()[0])


def _of_export(folder: Path, ended: bool) -> list[str]:
    from maskwatch import Classifier, MaskwatchError

    path = folder / "out.onnx"
    if not path.exists():
        return ["no out.onnx"] if ended else []
    try:
        Classifier(path)
    except MaskwatchError as error:
        return [str(error)]
    return []


def _data(*arguments: str, wanted: int, prepare: Callable[[Path], None] = _pictures) -> Command:
    """A command that fills a folder `out`."""
    return Command(
        prepare,
        lambda folder: [
            "data",
            arguments[0],
            *(str(folder / one) for one in arguments[1:]),
            "-o",
            str(folder / "out"),
        ],
        lambda folder, ended: _missing(folder, ended, wanted, "out"),
    )


_TINY = json.dumps(
    {
        "steps": 6,
        "sides": [64],
        "side_shares": [1.0],
        "pixels_per_step": 16384,
        "checkpoint_every_s": 0.1,
        "workers": 0,
    }
)
_RECEIVERS = ("events.jsonl", "events.db")
COMMANDS: dict[str, Command] = {
    "image": Command(
        _pictures,
        lambda f: [
            *("image", str(f / "in"), "-o", str(f / "out"), "--save-crops", "--threads", "1"),
            *("--json", str(f / "out" / "faces.json"), "--csv", str(f / "out" / "faces.csv")),
        ],
        _of_image,
    ),
    "video": Command(
        _clip,
        lambda f: [
            *("video", str(f / "walk.mp4"), "-o", str(f / "out" / "copy.mp4")),
            *("--json", str(f / "out" / "lines.jsonl"), "--events", str(f / "out" / "events.csv")),
        ],
        _of_video,
    ),
    "live": Command(
        _clip,
        lambda f: [
            *(
                "live",
                str(f / "walk.mp4"),
                "--no-page",
                "--aggregate-every",
                "0.1",
                "--spool",
                str(f / "spool"),
            ),
            *(part for name in _RECEIVERS for part in ("--sink", str(f / name))),
        ],
        _of_live,
        _committed_live,
    ),
    "data convert": Command(
        _pictures,
        lambda f: ["data", "convert", str(f / "coco"), "-o", str(f / "out")],
        lambda f, ended: (
            _missing(f, ended, 9, "out") if (f / "out" / "annotations.json").exists() or ended else []
        ),
    ),
    "data crops": _data("crops", "coco", wanted=8),
    "data split": _data("split", "in", wanted=8, prepare=_patterns),
    "evaluate": Command(
        _pictures,
        lambda f: ["evaluate", str(f / "coco"), "--json", str(f / "out" / "figures.json"), "--quiet"],
        lambda f, ended: [
            *(_half_files(f / "out") if (f / "out").is_dir() else []),
            *(["no figures.json"] if ended and not (f / "out" / "figures.json").exists() else []),
        ],
    ),
    "export": Command(
        _keras,
        lambda f: ["export", str(f / "net.keras"), "-o", str(f / "out.onnx")],
        _of_export,
    ),
    "train": Command(
        _patterns,
        lambda f: [
            *("train", str(f / "in"), "-o", str(f / "run"), "--weights", "random", "--epochs", "3"),
            *("--size", "32", "--alpha", "0.35", "--batch-size", "4", "--test-share", "0.5", "--plain-split"),
        ],
        _of_run("mask_detector.onnx"),
    ),
    "train-detector": Command(
        _tiny_options,
        lambda f: [
            "train-detector",
            str(f / "coco"),
            "-o",
            str(f / "run"),
            "--config",
            str(f / "options.json"),
        ],
        _of_run("model.onnx"),
    ),
}
if __name__ == "__main__":
    main()

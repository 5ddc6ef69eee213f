"""`maskwatch batch` on this machine: inputs, rows, resuming, dying workers, an object store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskwatch import DetectOptions, Detector, OptionError, SourceError
from maskwatch.batch import BatchOptions, run_batch
from maskwatch.batch.inputs import list_items
from maskwatch.batch.job import Workers
from maskwatch.batch.look import CarefulLooker, Encoded
from maskwatch.batch.options import Job
from maskwatch.batch.part import PartWorker, read_receipt
from maskwatch.batch.rows import PictureRow
from maskwatch.batch.store import FileSystems, Store
from tests.batches import LOCAL, OPTIONS, digests, faces, images, make_pictures
from tests.commands import run, start
from tests.services.servers import ObjectStore, wait_until
from tests.test_classifier import make as make_classifier


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, astronaut, masked) -> Path:
    """Twelve pictures and two that are none."""
    return make_pictures(tmp_path_factory.mktemp("batch") / "in", astronaut, masked, 12)


@pytest.fixture(scope="module")
def clean(pictures, tmp_path_factory) -> Path:
    """The result of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("clean") / "out"
    run_batch([str(pictures)], str(out), OPTIONS, LOCAL)
    return out


def test_a_row_a_picture_and_a_row_a_face(pictures, clean):
    rows = images(clean)
    paths = sorted(str(path) for path in pictures.rglob("*.*"))
    assert [row["path"] for row in rows] == paths
    assert [row["index"] for row in rows] == list(range(14))
    detector = Detector(options=DetectOptions(max_side=OPTIONS.max_side, threads=1))
    found = faces(clean)
    for row in rows:
        mine = [face for face in found if face["index"] == row["index"]]
        assert row["bytes"] == Path(row["path"]).stat().st_size
        if "broken" in row["path"]:
            assert "is no picture that can be decoded" in row["error"] or "is empty" in row["error"]
            assert (row["faces"], row["width"], mine) == (None, None, [])
            continue
        expected = detector.detect(row["path"])
        height, width = cv2.imread(row["path"]).shape[:2]
        assert (row["width"], row["height"], row["error"]) == (width, height, None)
        assert row["faces"] == len(expected) == len(mine) >= 1
        assert row["with_mask"] == expected.verdict_names.count("with_mask")
        assert [face["verdict"] for face in mine] == expected.verdict_names
        boxes = [[face[name] for name in ("x1", "y1", "x2", "y2")] for face in mine]
        assert boxes == expected.xyxy.tolist()
        assert [face["score"] for face in mine] == expected.score.tolist()
    assert {face["verdict"] for face in found} >= {"with_mask", "without_mask"}


def test_the_manifest_adds_up(clean):
    manifest = json.loads((clean / "manifest.json").read_text())
    assert manifest["summary"]["images"] == 14
    assert manifest["summary"]["failed"] == 2
    assert manifest["summary"]["faces"] == len(faces(clean))
    assert sum(part["images"] for part in manifest["parts"]) == 14
    for part in manifest["parts"]:
        for kind in ("images", "faces"):
            data = (clean / kind / f"part-{part['part']:05d}.parquet").read_bytes()
            assert hashlib.sha256(data).hexdigest() == part[f"{kind}_sha256"]
    assert not {"tries", "partial"} & {path.name for path in (clean / "_maskwatch").iterdir()}


def test_done_is_done(clean, pictures):
    before = {path: path.stat().st_mtime_ns for path in clean.rglob("part-*")}
    seen = []
    report = run_batch([str(pictures)], str(clean), OPTIONS, LOCAL, report=seen.append)
    assert (report.done, report.found) == (14, 14)
    assert {path: path.stat().st_mtime_ns for path in clean.rglob("part-*")} == before
    assert len(seen) == 1


def test_going_on_uses_the_list_that_was_made(pictures, clean, tmp_path, astronaut):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in pictures.rglob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "out"
    run_batch([str(folder)], str(out), OPTIONS, LOCAL)
    before = digests(out)
    parts = sorted((out / "_maskwatch" / "parts").iterdir())
    parts[1].unlink()
    (out / "images" / "part-00001.parquet").write_bytes(b"half a file")
    cv2.imwrite(str(folder / "aaa-late.jpg"), np.zeros((64, 64, 3), np.uint8))
    report = run_batch([str(folder)], str(out), OPTIONS, LOCAL)
    assert report.found == 14 - OPTIONS.part_size
    assert digests(out) == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"max_side": 256}, "max side"),
        ({"score_threshold": 0.9}, "score threshold"),
        ({"part_size": 3}, "part size"),
    ],
)
def test_another_job_in_the_same_output_is_refused(pictures, clean, changed, words):
    options = BatchOptions(**{"max_side": OPTIONS.max_side, "part_size": OPTIONS.part_size, **changed})
    with pytest.raises(OptionError, match=f"begun with another {words}"):
        run_batch([str(pictures)], str(clean), options, LOCAL)


def test_other_inputs_and_foreign_folders_are_refused(pictures, clean, tmp_path):
    with pytest.raises(OptionError, match="begun with another inputs"):
        run_batch([str(pictures / "sub")], str(clean), OPTIONS, LOCAL)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(OptionError, match=r"holds holiday\.jpg already"):
        run_batch([str(pictures)], str(tmp_path), OPTIONS, LOCAL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="no pictures found"):
        run_batch([str(tmp_path / "empty")], str(tmp_path / "out"), OPTIONS, LOCAL)
    assert not (tmp_path / "out" / "_maskwatch" / "plan.json").exists()


def test_lists_globs_and_missing_files(pictures, tmp_path):
    lines = ["# mine", "", str(pictures / "bare_0.jpg"), "gone.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    out = tmp_path / "out"
    report = run_batch(
        [str(tmp_path / "list.txt"), str(pictures / "sub" / "*.png")], str(out), OPTIONS, LOCAL
    )
    rows = images(out)
    assert rows[0]["path"] == str(pictures / "bare_0.jpg")
    assert rows[1]["path"] == str(tmp_path / "gone.jpg")
    assert "cannot be read (No such file" in rows[1]["error"]
    assert {Path(row["path"]).suffix for row in rows[2:]} == {".png"}
    assert report.summary.failed == 1
    (tmp_path / "secret.txt").write_text("s3://me:secret@bucket/x.jpg\n")
    with pytest.raises(OptionError, match="holds credentials") as caught:
        list(list_items([str(tmp_path / "secret.txt")], FileSystems()))
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("shape", ["bytes", "hugging face"])
def test_pictures_in_parquet(pictures, clean, tmp_path, shape):
    paths = sorted(pictures.rglob("*.*"))
    data = [path.read_bytes() for path in paths]
    if shape == "bytes":
        table = pa.table({"file_name": [path.name for path in paths], "content": data, "width": [1] * 14})
    else:
        table = pa.table(
            {"image": [{"bytes": one, "path": p.name} for one, p in zip(data, paths, strict=True)]}
        )
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5)
    out = tmp_path / "out"
    run_batch([str(tmp_path / "in.parquet")], str(out), OPTIONS, LOCAL)
    assert [row["path"] for row in images(out)] == [path.name for path in paths]
    expected = [{**face, "path": Path(face["path"]).name} for face in faces(clean)]
    assert faces(out) == expected


def test_parquet_without_pictures_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "in.parquet")
    with pytest.raises(OptionError, match="columns of bytes here: none"):
        run_batch([str(tmp_path / "in.parquet")], str(tmp_path / "out"), OPTIONS, LOCAL)
    (tmp_path / "no.parquet").write_bytes(b"text")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        run_batch([str(tmp_path / "no.parquet")], str(tmp_path / "out"), OPTIONS, LOCAL)


def test_copies_have_their_own_names_and_hide_faces(pictures, tmp_path):
    options = BatchOptions(max_side=OPTIONS.max_side, part_size=4, blur=True)
    inputs = [str(pictures), str(pictures / "sub")]
    run_batch(inputs, str(tmp_path / "out"), options, LOCAL)
    rows = [row for row in images(tmp_path / "out") if row["error"] is None]
    copies = sorted((tmp_path / "out" / "copies").rglob("*.*"))
    assert len(copies) == len(rows)
    assert len({str(path).lower() for path in copies}) == len(copies)
    face = next(face for face in faces(tmp_path / "out") if face["path"].endswith("bare_0.jpg"))
    x1, y1, x2, y2 = (int(face[name]) for name in ("x1", "y1", "x2", "y2"))
    bare, hidden = (
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)[y1:y2, x1:x2]
        for path in (pictures / "bare_0.jpg", tmp_path / "out" / "copies" / "bare_0.jpg")
    )
    assert np.abs(np.diff(hidden, axis=1)).mean() < 0.5 * np.abs(np.diff(bare, axis=1)).mean()


def test_a_second_stage_works_as_on_image(pictures, clean, tmp_path):
    wrong = ("mask_worn_incorrectly", "mask_worn_incorrectly")
    chosen = replace(OPTIONS, classifier=make_classifier(tmp_path / "wrong.onnx", labels=wrong))
    run_batch([str(pictures)], str(tmp_path / "judged"), chosen, LOCAL)
    assert {face["verdict"] for face in faces(tmp_path / "judged")} == {"mask_worn_incorrectly"}
    assert len(faces(tmp_path / "judged")) == len(faces(clean))
    with pytest.raises(OptionError, match="add --classifier"):
        run_batch(
            [str(pictures)], str(tmp_path / "out"), BatchOptions(face_detector=tmp_path / "faces.pb"), LOCAL
        )


def worker_pids(parent: int) -> list[int]:
    """Children of a process that are workers of a pool."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            status = (folder / "status").read_text()
            if f"\nPPid:\t{parent}\n" in status and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def begin(pictures: Path, out: Path, *, workers: int = 2) -> subprocess.Popen[str]:
    """A batch in a process of its own."""
    arguments = (
        "--local",
        "--workers",
        workers,
        "--part-size",
        OPTIONS.part_size,
        "--max-side",
        OPTIONS.max_side,
    )
    return start("batch", pictures, "-o", out, *arguments)


def receipts(out: Path) -> int:
    folder = out / "_maskwatch" / "parts"
    return sum(path.suffix == ".json" for path in folder.iterdir()) if folder.is_dir() else 0


def test_killed_workers_lose_and_double_nothing(pictures, clean, tmp_path):
    out = tmp_path / "out"
    process = begin(pictures, out)
    killed = 0
    while process.poll() is None:
        busy = list((out / "_maskwatch" / "tries").glob("0*")) if killed < 2 else []
        if busy and (pids := worker_pids(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)
                killed += 1
            wait_until(lambda pid=pids[0]: not Path(f"/proc/{pid}").exists() or process.poll() is not None)
        time.sleep(0.02)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert killed == 2
    assert digests(out) == digests(clean)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_job_that_dies_goes_on(pictures, clean, tmp_path, number):
    out = tmp_path / "out"
    process = begin(pictures, out, workers=1)  # three parts are left when the first is done
    wait_until(lambda: receipts(out) >= 1, 120, every_s=0.005)
    children = worker_pids(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130, said
        assert "the same command goes on" in said
        assert "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 60)
    (out / "_maskwatch" / "partial" / "half").write_bytes(b"what a kill -9 in a write leaves")
    done = receipts(out)
    process = begin(pictures, out)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    if done < 4:
        assert "were done before; going on" in said
    assert digests(out) == digests(clean)


def test_a_part_that_failed_often_is_done_carefully_with_the_same_bytes(pictures, clean, tmp_path):
    store = Store(str(tmp_path / "out"))
    run_batch([str(pictures)], str(tmp_path / "out"), OPTIONS, LOCAL)
    (tmp_path / "out" / "_maskwatch" / "parts" / "00000.json").unlink()
    store.write("_maskwatch/tries/00000", b"2")
    job = Job((str(pictures),), str(tmp_path / "out"), OPTIONS, Detector().card.sha256)
    worker = PartWorker(job)
    assert worker(0) == read_receipt(Store(str(clean)), 0)
    assert digests(tmp_path / "out") == digests(clean)


class Deadly:
    """Looks, and dies of pictures that say so."""

    def __init__(self, job: Job) -> None:
        del job

    def __call__(self, one: Encoded) -> PictureRow:
        if one.data == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if one.data == b"hang":
            time.sleep(600)
        return PictureRow(one.index, one.path, len(one.data))


def test_a_picture_that_kills_its_worker_is_a_row_with_an_error():
    job = Job((), "", OPTIONS, "")
    careful = CarefulLooker(job, make=Deadly, patience_s=20.0)
    rows = [careful.look(Encoded(i, f"{i}.jpg", data)) for i, data in enumerate([b"a", b"kill", b"b"])]
    assert [row.error for row in rows][::2] == ["", ""]
    assert rows[1].error.startswith("1.jpg: the detector died on it")
    careful.close()
    hasty = CarefulLooker(job, make=Deadly, patience_s=1.0)
    assert "did not end within 1 s" in hasty.look(Encoded(0, "0.jpg", b"hang")).error
    hasty.close()


def test_an_object_store(pictures, clean, tmp_path, monkeypatch):
    with ObjectStore() as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        store.make_bucket("photos")
        store.make_bucket("results")
        systems = FileSystems()
        for path in sorted(pictures.rglob("*.*")):
            system, key = systems.locate(f"s3://photos/in/{path.relative_to(pictures).as_posix()}")
            with system.open_output_stream(key) as stream:
                stream.write(path.read_bytes())
        run_batch(["s3://photos/in"], "s3://results/out", OPTIONS, LOCAL)
        copy = tmp_path / "out"
        results = Store("s3://results/out")
        for folder in ("images", "faces"):
            for name in results.names(folder):
                (copy / folder).mkdir(parents=True, exist_ok=True)
                (copy / folder / name).write_bytes(results.read(f"{folder}/{name}") or b"")
        here, there = str(pictures), "s3://photos/in"
        assert [{**row, "path": row["path"].replace(there, here)} for row in faces(copy)] == faces(clean)
        found = [(row["path"].replace(there, here), row["faces"]) for row in images(copy)]
        assert found == [(row["path"], row["faces"]) for row in images(clean)]
        assert [item.path for item in list_items(["s3://photos/in/sub/*.png"], systems)] == [
            f"s3://photos/in/sub/{path.name}" for path in sorted((pictures / "sub").glob("*.png"))
        ]
        with pytest.raises(SourceError, match="nothing of that name"):
            list(list_items(["s3://photos/nowhere"], systems))
        results.remove("_maskwatch/parts/00001.json")
        seen = []
        run_batch(["s3://photos/in"], "s3://results/out", OPTIONS, LOCAL, report=seen.append)
        assert (seen[0].found, seen[-1].done) == (14 - OPTIONS.part_size, 14)


def test_the_command_says_what_it_did(pictures, clean, tmp_path):
    out = tmp_path / "out"
    arguments = ("--local", "--part-size", OPTIONS.part_size, "--max-side", OPTIONS.max_side)
    done = run("batch", pictures, "-o", out, *arguments)
    assert done.returncode == 0, done.stderr
    assert "14 images (2 unreadable)" in done.stderr
    assert "14 of 14 pictures" in done.stderr
    assert digests(out) == digests(clean)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--local", "--address", "auto"], "leave out --address"),
        (["--workers", "many"], "--workers must be a number"),
        (["--local", "--face-detector", "x.pb"], "add --classifier"),
    ],
)
def test_wrong_usage(pictures, tmp_path, arguments, words):
    done = run("batch", pictures, "-o", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_must_be_possible():
    with pytest.raises(OptionError, match="at least 1"):
        Workers(0)


def test_commands_load_nothing_heavy_until_they_run():
    code = (
        "import sys, typer.testing; from maskwatch.cli.app import app;"
        "heavy = {'ray', 'pyarrow', 'fsspec', 'av', 'cv2', 'onnxruntime', 'numpy', 'sqlalchemy', 'moto'};"
        "print('IMPORTED', sorted((heavy | {'pydantic'}) & set(sys.modules)));"
        "runner = typer.testing.CliRunner();"
        "[print(runner.invoke(app, [name, '--help']).output) for name in ('batch', 'watch', 'doctor')];"
        "print('LOADED', sorted(heavy & set(sys.modules)))"  # typer itself may load pydantic by now
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "IMPORTED []" in done.stdout
    assert "LOADED []" in done.stdout
    for option in ("--address", "--local", "--workers", "--classifier", "--annotated", "--patience"):
        assert option in done.stdout

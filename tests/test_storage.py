"""Disks that are full, damaged, slow or gone: detection goes on, someone is told, nothing is lost twice."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskwatch import DatasetError, SourceError
from maskwatch.events import Event
from maskwatch.files import new_folder, read_bytes, read_json, replacing, write_whole
from maskwatch.pipeline import Delivery
from maskwatch.sinks.lines import CsvEvents, JsonLines
from maskwatch.sinks.receivers import EventFile, open_receiver
from maskwatch.sinks.recorder import Recorder
from maskwatch.sinks.spool import MOST_IN_MEMORY, Spool, SpoolInUseError, open_spool
from tests.clips import make_clip, numbered
from tests.commands import start
from tests.services.servers import wait_until
from tests.test_cli_video import scene
from tests.test_delivery import Fake, event


@contextlib.contextmanager
def _small_disk(folder: Path, kilobytes: int):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can only be made with the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of 512 kB."""
    with _small_disk(tmp_path / "disk", 512) as folder:
        yield folder


def fill(folder: Path, *, free: int = 0) -> Path:
    """Leave no byte free, or `free` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while free == 0 or shutil.disk_usage(folder).free > free:
            file.write(bytes(4096))
    return ballast


def test_a_write_leaves_the_old_file_or_the_new_one(tmp_path):
    target = tmp_path / "deep" / "x.json"
    write_whole(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        assert target.read_text() == "old"
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["x.json"]
    write_whole(target, "caf\udce9", sync=True)
    assert target.read_bytes() == b"caf\\udce9"
    long = tmp_path / ("n" * 255)
    write_whole(long, b"1")
    assert long.read_bytes() == b"1"


def test_a_link_laid_in_the_way_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    (tmp_path / "x.json.partial").symlink_to(victim)
    (tmp_path / "x.json").symlink_to(victim)
    write_whole(tmp_path / "x.json", "new")
    assert victim.read_text() == "dear"
    assert not (tmp_path / "x.json").is_symlink()


def test_a_folder_under_its_name_is_whole(tmp_path):
    (tmp_path / "out.partial" / "stale").mkdir(parents=True)
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    with pytest.raises(DatasetError, match="is not empty"), new_folder(tmp_path / "out"):
        pass


def test_only_ordinary_files_of_a_known_size_are_read(tmp_path):
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_bytes(tmp_path / "large", 10)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="no ordinary file"):
            read_bytes(path, 10)
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json", 10**6)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(disk):
    (disk / "x").write_text("old")
    ballast = fill(disk)
    with pytest.raises(SourceError, match="No space left"):
        write_whole(disk / "x", bytes(100_000))
    assert (disk / "x").read_text() == "old"
    assert not (disk / "x.partial").exists()
    ballast.unlink()
    write_whole(disk / "x", bytes(100_000))


def test_a_spool_on_a_full_disk_keeps_events_in_memory_and_goes_on(disk):
    spool = Spool(disk / "spool.db")
    spool.add({"number": 0})
    ballast = fill(disk)
    for number in range(1, 200):
        spool.add({"number": number})
    assert "cannot be kept on disk" in spool.trouble
    assert len(spool) == 200
    assert [one.values["number"] for one in spool.oldest(500)] == list(range(200))
    spool.remove(spool.oldest(50))
    assert [one.values["number"] for one in spool.oldest(500)] == list(range(50, 200))
    ballast.unlink()
    wait_until(lambda: spool.oldest(1) and not spool.trouble)
    spool.close()
    again = Spool(disk / "spool.db")
    assert [one.values["number"] for one in again.oldest(500)] == list(range(50, 200))
    assert again.dropped == 0
    again.close()


def test_memory_is_bounded_while_the_disk_is_full(disk):
    spool = Spool(disk / "spool.db")
    fill(disk)
    for number in range(MOST_IN_MEMORY + 5):
        spool.add({"number": number})
    saved = MOST_IN_MEMORY + 5 - spool.dropped
    assert len(spool) == saved
    assert spool.oldest(1)[0].values["number"] == spool.dropped
    spool.close()


def test_a_damaged_spool_is_set_aside_and_said(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    for number in range(300):
        spool.add({"number": number})
    spool.close()
    content = bytearray((tmp_path / "spool.db").read_bytes())
    content[4096 : 4096 + 6000] = os.urandom(6000)
    (tmp_path / "spool.db").write_bytes(content)
    fresh = Spool(tmp_path / "spool.db")
    assert "was damaged" in fresh.trouble
    assert (tmp_path / "spool.db.damaged-1").read_bytes() == content
    fresh.add({"number": 1})
    assert len(fresh.oldest(9)) == 1
    fresh.close()


def test_a_spool_whose_table_is_another_one_is_set_aside(tmp_path):
    """Found by atheris: places that are no numbers, and are handed out again and again for ever."""
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("CREATE TABLE waiting (place TEXT, event_id TEXT, body TEXT)")
        db.execute("INSERT INTO waiting VALUES ('b', 'id', '[')")
        db.execute("PRAGMA user_version=1")
    db.close()
    spool = Spool(tmp_path / "spool.db")
    assert "was damaged" in spool.trouble
    assert spool.oldest(9) == []
    spool.close()


def test_rows_that_hold_no_events_are_counted_and_passed_over(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    spool.add({"number": 1})
    spool.close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.executemany("INSERT INTO waiting (event_id, body) VALUES (?, ?)", [("b", "["), ("c", "5")])
    db.close()
    spool = Spool(tmp_path / "spool.db")
    assert len(spool) == 3
    (good,) = spool.oldest(9)
    spool.remove([good])
    assert spool.oldest(9) == []
    assert (spool.dropped, len(spool)) == (2, 0)
    spool.close()


def test_a_spool_belongs_to_one_process(tmp_path):
    first = open_spool(tmp_path, "a")
    with pytest.raises(SpoolInUseError):
        Spool(tmp_path / "a.db")
    second = open_spool(tmp_path, "a")
    assert (first.path.name, second.path.name) == ("a.db", "a-2.db")
    first.close()
    third = open_spool(tmp_path, "a")
    assert third.path.name == "a.db"
    second.close()
    third.close()


def test_a_killed_process_leaves_its_spool_to_the_next(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from maskwatch.sinks.spool import Spool
spool = Spool(Path({str(tmp_path / "a.db")!r}))
spool.add({{"number": 1}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGKILL
    spool = Spool(tmp_path / "a.db")
    assert [one.values for one in spool.oldest(9)] == [{"number": 1}]
    spool.close()


def test_a_receiver_that_chokes_on_one_event_gets_the_others(tmp_path):
    """An error that nobody foresaw must neither end the thread nor stop what comes behind."""

    class Chokes(Fake):
        def send(self, events):
            if any(one.values["track_id"] == 7 for one in events):
                raise ZeroDivisionError("7")
            super().send(events)

    chokes = Chokes()
    spool = Spool(tmp_path / "spool.db")
    for number in range(20):
        spool.add(event(number).to_dict())
    with Delivery(chokes, spool) as delivery:
        wait_until(lambda: delivery.waiting == 0)
    assert chokes.numbers == [n for n in range(20) if n != 7]
    assert (delivery.found, delivery.delivered, delivery.rejected) == (20, 19, 1)


def test_every_event_is_accounted_for(tmp_path):
    fake = Fake()
    with Delivery(fake, Spool(tmp_path / "spool.db", most_events=10), patience_s=0.2) as delivery:
        fake.away = True
        for number in range(25):
            delivery.write(event(number))
        wait_until(lambda: delivery.failures)
        assert delivery.trouble == "fake: away"
    known = delivery.delivered + delivery.rejected + delivery.waiting + delivery.spool.dropped
    assert delivery.found + delivery.written == 25 == known


@pytest.mark.parametrize("kind", [JsonLines, CsvEvents])
def test_lines_are_whole_on_a_full_disk(disk, kind):
    with kind(disk / "events.x") as lines:
        row = {"source_id": "x" * 50, "message": "y" * 50}
        lines.write_values([row] * 20)
        size = (disk / "events.x").stat().st_size
        ballast = fill(disk)
        with pytest.raises(SourceError, match="No space left"):
            lines.write_values([row] * 5000)
        assert (disk / "events.x").stat().st_size == size
        ballast.unlink()
        lines.write_values([row])
    assert (disk / "events.x").read_bytes().endswith(b"\n")
    assert (disk / "events.x").stat().st_size > size


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_an_event_file_takes_each_event_once(tmp_path, suffix):
    """The batch that was under way when we were killed comes again, and half a line is mended."""
    path = tmp_path / f"events{suffix}"
    spool = Spool(tmp_path / "spool.db")
    for number in range(6):
        spool.add(event(number).to_dict())
    events = spool.oldest(9)
    spool.close()
    first = EventFile(path)
    first.send(events[:4])
    first.close()
    with path.open("ab") as file:
        file.write(b'{"type": "ev')
    second = EventFile(path)
    second.send(events)
    second.close()
    text = path.read_text()
    for one in events:
        assert text.count(one.event_id) == 1
    assert text.endswith("\n")
    assert '"ev\n' not in text
    if suffix == ".jsonl":
        assert [json.loads(line)["track_id"] for line in text.splitlines()] == list(range(6))


_APPEND = """
import sys
from pathlib import Path
from maskwatch.sinks.lines import open_events
path, name = sys.argv[1:]
for number in range(40):
    with open_events(Path(path), append=True) as lines:
        ids = [f"{name}-{number}-{k}" for k in range(3)]
        lines.write_values({"source_id": name * 9999, "event_id": one} for one in ids)
"""


@pytest.mark.skipif(os.name != "posix", reason="files are not locked there")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_several_processes_append_to_one_file(tmp_path, suffix):
    """Cameras on several hosts may name one file: no line of one is cut or covered by another's."""
    path = tmp_path / f"events{suffix}"
    writers = [subprocess.Popen([sys.executable, "-c", _APPEND, str(path), name]) for name in "abc"]
    assert [one.wait(120) for one in writers] == [0, 0, 0]
    lines = path.read_text().splitlines()
    ids = [line.rpartition(",")[2] if suffix == ".csv" else json.loads(line)["event_id"] for line in lines]
    expected = [f"{name}-{number}-{k}" for name in "abc" for number in range(40) for k in range(3)]
    assert sorted(ids[suffix == ".csv" :]) == sorted(expected)


def test_an_event_file_follows_when_logs_are_rotated(tmp_path):
    path = tmp_path / "events.jsonl"
    spool = Spool(tmp_path / "spool.db")
    for number in range(2):
        spool.add(event(number).to_dict())
    one, two = spool.oldest(2)
    spool.close()
    receiver = EventFile(path)
    receiver.send([one])
    path.rename(tmp_path / "events.jsonl.1")
    receiver.send([two])
    receiver.close()
    assert one.event_id in (tmp_path / "events.jsonl.1").read_text()
    assert two.event_id in path.read_text()


def test_a_foreign_table_is_not_written_into(tmp_path):
    (tmp_path / "events.csv").write_text("name,age\nx,3\n")
    with pytest.raises(SourceError, match="columns are those of another table"):
        open_receiver(str(tmp_path / "events.csv"))
    assert (tmp_path / "events.csv").read_text() == "name,age\nx,3\n"


def test_a_locked_and_a_damaged_database_are_said_and_waited_for(tmp_path):
    path = tmp_path / "events.db"
    with Delivery(open_receiver(str(path)), Spool(tmp_path / "s.db"), patience_s=0.5) as delivery:
        delivery.write(event(0))
        wait_until(lambda: delivery.delivered == 1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        delivery.write(event(1))
        wait_until(lambda: "locked" in delivery.trouble, 60)
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: delivery.delivered == 2, 60)
        assert not delivery.trouble
    content = bytearray(path.read_bytes())
    content[:100] = b"x" * 100
    path.write_bytes(content)
    with Delivery(open_receiver(str(path)), Spool(tmp_path / "s.db"), patience_s=0.2) as delivery:
        delivery.write(event(2))
        wait_until(lambda: "not a database" in delivery.trouble)
        assert delivery.waiting == 1


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_recording_is_interrupted_by_a_full_disk_and_goes_on(tmp_path):
    with _small_disk(tmp_path / "disk", 3000) as disk:
        noise = np.random.default_rng(0)
        with Recorder(disk / "door.mp4", least_free_bytes=200_000) as recorder:
            recorder._look_at = 0.0
            for number in range(12):
                recorder.write(numbered(number), number / 15)
            ballast = fill(disk, free=150_000)
            recorder._look_at = 0.0
            recorder.write(numbered(12), 12 / 15)
            assert "bytes are free" in recorder.trouble
            recorder.write(noise.integers(0, 256, (108, 192, 3), np.uint8), 13 / 15)
            assert recorder.missed == 2
            ballast.unlink()
            recorder._try_at = 0.0
            for number in range(14, 26):
                recorder.write(numbered(number), number / 15)
            assert recorder.trouble == ""
        assert len(recorder.files) == 2
        assert frames_in(recorder.files[0]) == 12
        assert frames_in(recorder.files[1]) == 12
        assert recorder.files[1] == disk / "door-2.mp4"


def test_a_recording_never_replaces_an_older_one(tmp_path):
    for _ in range(2):
        with Recorder(tmp_path / "door.mp4", least_free_bytes=0) as recorder:
            recorder.write(numbered(1), 0.0)
    (tmp_path / "door-3.part.mp4").touch()  # what a kill left
    with Recorder(tmp_path / "door.mp4", least_free_bytes=0) as recorder:
        recorder.write(numbered(1), 0.0)
    assert {path.name for path in tmp_path.glob("*.mp4")} == {
        "door.mp4",
        "door-2.mp4",
        "door-3.part.mp4",
        "door-4.mp4",
    }


def test_live_goes_on_while_its_disk_is_full_says_so_and_catches_up(tmp_path, astronaut):
    """The whole program: two receivers on a disk that fills up and is emptied again."""
    clip = make_clip(tmp_path / "door.mp4", [scene(astronaut, step) for step in range(30)], rate=Fraction(15))
    with _small_disk(tmp_path / "disk", 1500) as disk:
        out, table = disk / "events.jsonl", disk / "events.db"
        process = start(
            *("live", clip, "--loop", "--no-page", "--aggregate-every", "0.2", "--spool", disk / "spool"),
            *("--sink", out, "--sink", table, "--record", disk / "seen.mp4"),
        )
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr))
        reader.start()
        killer = threading.Timer(240, process.kill)
        killer.start()
        try:
            wait_until(lambda: out.exists() and out.stat().st_size > 500, 60)
            ballast = fill(disk)
            wait_until(lambda: any("ALARM" in line and "kept on disk" in line for line in said), 60)
            full_size = out.stat().st_size
            time.sleep(1)
            assert process.poll() is None
            ballast.unlink()
            wait_until(lambda: any("alarm is over" in line for line in said), 120)
            wait_until(lambda: out.stat().st_size > full_size, 120)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            killer.cancel()
            reader.join()
            process.stdout.close()
            process.stderr.close()
        text = "".join(said)
        assert process.returncode == 0, text
        assert "Traceback" not in text
        counts = [
            tuple(map(int, found))
            for found in re.findall(r"events\.\w+: (\d+) of (\d+) events delivered", text)
        ]
        assert len(counts) == 2
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert len({row["event_id"] for row in rows}) == len(rows) == counts[0][0]
        with sqlite3.connect(table) as db:
            stored = db.execute(
                "SELECT (SELECT COUNT(*) FROM maskwatch_events), COUNT(*) FROM maskwatch_aggregates"
            )
            assert sum(stored.fetchone()) == counts[1][0]
        db.close()
        for (delivered, written), line in zip(
            counts, [line for line in said if "events delivered" in line], strict=True
        ):
            rest = re.search(r"(\d+) wait for", line)
            assert delivered + (int(rest[1]) if rest else 0) == written, line
        assert shutil.disk_usage(disk).free >= 0


def test_events_with_names_that_are_no_text_are_stored(tmp_path):
    """A camera may be a file whose name holds bytes that no database takes."""
    from maskwatch.pipeline.people import PeopleWatch
    from maskwatch.sources.camera import Camera

    path = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / path).touch()
    camera = Camera(str(tmp_path / path))
    assert camera.name.endswith("caf\\udce9.mp4")
    watch = PeopleWatch(camera.name)
    assert watch.close() == []
    for name in ("events.db", "events.jsonl", "events.csv"):
        with Delivery(open_receiver(str(tmp_path / name)), Spool(tmp_path / f"{name}.spool")) as delivery:
            delivery.write(Event("start", camera.name, 0.0))
        assert delivery.delivered == 1

"""`maskwatch live` on files that play as cameras do: receivers, recording, page, signals."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import threading
import urllib.request
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import make_clip
from tests.commands import run, start
from tests.test_cli_video import scene


@pytest.fixture(scope="module")
def camera(tmp_path_factory, astronaut) -> Path:
    """Two seconds of a bare face."""
    frames = [scene(astronaut, step) for step in range(30)]
    return make_clip(tmp_path_factory.mktemp("live") / "door.mp4", frames, rate=Fraction(15))


def test_events_recording_and_summary(camera, tmp_path):
    sinks = [tmp_path / "events.jsonl", tmp_path / "events.db"]
    (tmp_path / "rules.toml").write_text("without_mask_s = 0.5\n")
    done = run(
        "live",
        camera,
        *("--no-page", "--record", tmp_path / "seen.mp4", "--rules", tmp_path / "rules.toml"),
        *("--sink", sinks[0], "--sink", sinks[1], "--spool", tmp_path / "spool"),
    )
    assert done.returncode == 0, done.stderr
    looked = int(re.search(r"(\d+) pictures looked at", done.stderr).group(1))
    dropped = int(re.findall(r"(\d+) dropped", done.stderr)[-1])  # status lines told of fewer
    assert looked + dropped == 30
    rows = [json.loads(line) for line in sinks[0].read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    assert (kinds[0], kinds.count("alert")) == ("start", 1)
    assert kinds.count("end") == 1
    with sqlite3.connect(sinks[1]) as database:
        stored = database.execute("select count(*) from maskwatch_events").fetchone()[0]
    database.close()
    assert stored == len([kind for kind in kinds if kind != "aggregate"])
    with av.open(str(tmp_path / "seen.mp4")) as container:
        assert 0 < sum(1 for _ in container.decode(video=0)) <= looked


def test_a_camera_that_hangs_sideways_is_turned(tmp_path, astronaut):
    frames = [np.rot90(scene(astronaut, step), -1) for step in range(15)]
    clip = make_clip(tmp_path / "side.mp4", frames, rate=Fraction(15))
    done = run("live", clip, "--no-page", "--record", tmp_path / "seen.mp4", "--rotate", 270)
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "seen.mp4")) as container:
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    upright = scene(astronaut, 7).astype(np.float32)
    assert min(np.abs(image - upright).mean() for image in seen) < 15
    assert np.abs(seen[7][::-1, ::-1] - upright).mean() > 30
    wrong = run("live", clip, "--no-page", "--rotate", 45)
    assert (wrong.returncode, "rotate must be 0, 90, 180 or 270" in wrong.stderr) == (2, True)


def test_aggregates_alone_hold_nothing_about_a_person(camera, tmp_path):
    out = tmp_path / "sums.jsonl"
    done = run(
        *("live", camera, "--no-page", "--aggregate-only", "--aggregate-every", 0.5),
        *("--sink", out, "--spool", tmp_path / "spool"),
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"aggregate"}
    assert not {"track_id", "best_xyxy", "start_s"} & set().union(*rows)
    assert sum(row["people"] for row in rows) == 1
    assert sum(row["without_mask_s"] for row in rows) > 0.5


def test_aggregates_alone_refuse_pictures(camera, tmp_path):
    done = run("live", camera, "--aggregate-only", "--record", tmp_path / "x.mp4")
    assert done.returncode == 2
    assert "keeps no pictures" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_watch_in_good_order(camera, tmp_path, number):
    out = tmp_path / "events.jsonl"
    process = start(*("live", camera, "--loop", "--port", 0, "--sink", out, "--spool", tmp_path / "spool"))
    killer = threading.Timer(60, process.kill)
    killer.start()
    url = re.search(r"http://\S+", process.stderr.readline()).group(0)
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert b"maskwatch" in answer.read()
    while not out.exists() or '"start"' not in out.read_text():
        assert process.poll() is None
        threading.Event().wait(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    killer.cancel()
    assert process.returncode == 0, said
    assert "pictures looked at" in said
    kinds = [json.loads(line)["kind"] for line in out.read_text().splitlines()]
    assert kinds.count("start") == kinds.count("end")


def test_a_camera_that_never_came_is_an_error_and_keeps_its_password(tmp_path):
    done = run("live", "rtsp://me:secret@127.0.0.1:9/door", "--no-page", "--duration", 3)
    assert done.returncode == 1
    assert "not one picture came from" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_impossible_receivers_are_named(camera):
    done = run("live", camera, "--no-page", "--sink", "gopher://somewhere")
    assert done.returncode == 2
    assert "gopher" in done.stderr

"""`maskwatch video` on short clips of the astronaut, from the command line to the written file."""

from __future__ import annotations

import csv
import json
import signal
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskwatch import OptionError
from maskwatch.cli.video import copy_targets, parse_time
from maskwatch.frames import Image
from tests.clips import make_clip
from tests.commands import run, start


def scene(portrait: Image, step: int) -> Image:
    """(240, 320, 3): the portrait's upper half, a little further right at every step."""
    image = np.full((240, 320, 3), 110, np.uint8)
    left = 10 + 2 * step
    image[:, left : left + 200] = portrait[10:250, 110:310]
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut, masked) -> Path:
    """Three seconds at 15 fps, with sound: the face is bare for the first half, masked for the second."""
    frames = [scene(astronaut if step < 22 else masked, step) for step in range(45)]
    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    return make_clip(path, frames, rate=Fraction(15), sound="aac")


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_clip_becomes_a_copy_and_tables(clip, tmp_path):
    out, lines, events = tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "events.csv"
    done = run("video", clip, "-o", out, "--json", lines, "--events", events)
    assert done.returncode == 0, done.stderr
    assert "45 frames, 1 people: 1 with mask" in done.stderr
    with av.open(str(out)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.pix_fmt, sound.codec.name) == ("h264", "yuv420p", "aac")
    assert out.read_bytes()[:4096].find(b"moov") > 0, "a browser must not wait for the end of the file"
    assert frames_in(out) == 45
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["index"] for row in rows if row["type"] == "frame"] == list(range(45))
    (track,) = [row for row in rows if row["type"] == "track"]
    assert 0.8 < track["without_mask_s"] < 2.2
    verdicts = [row["verdict"] for row in csv.DictReader(events.read_text().splitlines())]
    assert verdicts[0] == "uncertain" or verdicts[0] == "without_mask"
    assert verdicts[-1] == "with_mask"


def test_rules_raise_alerts(clip, tmp_path):
    (tmp_path / "rules.toml").write_text("without_mask_s = 0.5\n")
    events = tmp_path / "events.jsonl"
    done = run("video", clip, "--no-video", "--rules", tmp_path / "rules.toml", "--events", events)
    assert done.returncode == 0, done.stderr
    alerts = [row for row in map(json.loads, events.read_text().splitlines()) if row["kind"] == "alert"]
    assert [alert["rule"] for alert in alerts] == ["without_mask"]
    assert list(tmp_path.glob("*.mp4")) == []


def test_a_part_is_cut_and_frames_are_skipped(clip, tmp_path):
    lines = tmp_path / "part.jsonl"
    arguments = ["--start", "1", "--end", "0:02", "--every", 3, "--json", lines]
    done = run("video", clip, "-o", tmp_path / "part.mp4", *arguments)
    assert done.returncode == 0, done.stderr
    assert frames_in(tmp_path / "part.mp4") == 15
    times = [json.loads(line)["pts_s"] for line in lines.read_text().splitlines() if "pts_s" in line]
    assert (times[0], len(times)) == (0.0, 15), "times are the copy's"


def test_what_was_filmed_sideways_is_turned(tmp_path, astronaut):
    frames = [np.rot90(scene(astronaut, step)) for step in range(15)]  # needs a quarter clockwise
    clip = make_clip(tmp_path / "side.mp4", frames)
    lines, target = tmp_path / "side.jsonl", tmp_path / "up.mp4"
    done = run("video", clip, "-o", target, "--rotate", 90, "--every", 1, "--json", lines)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [len(row["faces"]) for row in rows if row["type"] == "frame"][1:] == [1] * 14
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == scene(astronaut, 0).shape[:2]
    wrong = run("video", clip, "--rotate", 45)
    assert (wrong.returncode, "rotate must be 0, 90, 180 or 270" in wrong.stderr) == (2, True)


def test_gif_in_and_gif_out(clip, tmp_path):
    assert run("video", clip, "-o", tmp_path / "walk.gif").returncode == 0
    done = run("video", tmp_path / "walk.gif", "-o", tmp_path / "again.mp4")
    assert done.returncode == 0, done.stderr
    assert frames_in(tmp_path / "walk.gif") == frames_in(tmp_path / "again.mp4") == 45


def test_blurred_copies_hide_the_face(clip, tmp_path, detector, astronaut):
    assert run("video", clip, "-o", tmp_path / "plain.mp4", "--end", "0.5").returncode == 0
    assert run("video", clip, "-o", tmp_path / "blurred.mp4", "--end", "0.5", "--blur").returncode == 0
    for number in (0, 5):  # in the first frame nobody is followed yet
        x1, y1, x2, y2 = detector.detect(scene(astronaut, number)).xyxy[0].astype(int)

        def detail(path, number=number, rows=slice(y1 + 10, y2 - 10), columns=slice(x1 + 6, x2 - 6)):
            with av.open(str(path)) as container:
                image = list(container.decode(video=0))[number].to_ndarray(format="gray").astype(np.float32)
            return float(np.abs(np.diff(image[rows, columns], axis=1)).mean())

        assert detail(tmp_path / "blurred.mp4") < 0.5 * detail(tmp_path / "plain.mp4"), number


def test_a_broken_video_is_named_and_the_others_go_on(clip, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    done = run("video", tmp_path / "broken.mp4", clip, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "broken.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    assert frames_in(tmp_path / "out" / "walk.mp4") == 45


def test_the_video_itself_is_never_overwritten(clip):
    before = clip.read_bytes()
    done = run("video", clip, "-o", clip)
    assert done.returncode == 1
    assert "would overwrite" in done.stderr
    assert clip.read_bytes() == before


def test_ctrl_c_leaves_a_playable_file(tmp_path, astronaut):
    frames = [scene(astronaut, step % 50) for step in range(900)]
    clip = make_clip(tmp_path / "long.mp4", frames, rate=Fraction(30))
    lines = tmp_path / "long.jsonl"
    process = start("video", clip, "-o", tmp_path / "copy.mp4", "--json", lines)
    deadline = time.monotonic() + 60
    while (not lines.exists() or lines.stat().st_size < 3000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    done = sum('"frame"' in line for line in lines.read_text().splitlines())
    assert 0 < done < 900
    assert abs(frames_in(tmp_path / "copy.mp4") - done) <= 3


def test_where_copies_go(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert copy_targets([Path("a.mp4")], tmp_path / "b.mp4") == [tmp_path / "b.mp4"]
    two = [tmp_path / "a.mp4", Path("sub/a.mkv")]
    assert copy_targets(two, tmp_path) == [tmp_path / "a-2.mp4", tmp_path / "a.mp4"]
    with pytest.raises(OptionError, match="2 videos cannot go to one file"):
        copy_targets(two, tmp_path / "b.mp4")


def test_times_are_read_as_people_write_them():
    assert [parse_time(text) for text in (None, "12.5", "1:30", "1:02:03.5")] == [None, 12.5, 90.0, 3723.5]
    with pytest.raises(OptionError, match="'soon' is no time"):
        parse_time("soon")

"""Hostile and unlucky files, from the command line: one sentence each, in bounded time and memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from benchmarks.corpus import BOMBS, make_video, pictures, portrait, videos

from maskwatch import ImageError, MaskwatchError
from maskwatch.addresses import printable
from maskwatch.codec import read_picture
from maskwatch.picture_header import LARGEST_PIXELS, read_header
from maskwatch.sources.images import find_images
from maskwatch.sources.video import VideoFile
from tests.commands import COMMAND, ENVIRONMENT, run

HANG_S = 200
LARGEST_RSS = 1200 * 2**20
"""The corpus holds pictures that would take 0.6 to 13 GB each; a sound run of both commands takes a third."""


_LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Runs a command and writes down its peak memory. Linux counts what a process was before it became another
program, so that a child of pytest itself seems as large as pytest has grown."""


def measured(folder: Path, *arguments: object) -> tuple[int, str, str, int]:
    """Exit code, standard output and error, and peak memory in bytes of a command."""
    peak = folder / "peak-kb.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, peak, *COMMAND, *map(os.fspath, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        out, said = process.communicate(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out.decode(), said.decode(), int(peak.read_text()) * 1024


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs resource usage of children")
def test_a_folder_of_bad_pictures(tmp_path):
    cases = list(pictures(tmp_path))
    code, out, said, peak = measured(
        tmp_path, "image", *(case.path for case in cases), "--no-annotated", "--json", "-"
    )
    assert code == 1, said
    assert "Traceback" not in said
    entries = {entry["path"]: entry for entry in json.loads(out)["images"]}
    for case in cases:
        if case.path.is_dir():  # a folder named on purpose is looked through
            continue
        entry = entries[str(case.path)]
        assert case.is_readable == ("faces" in entry), (case.name, entry)
        if not case.is_readable:
            assert said.count(f"maskwatch: {printable(str(case.path))}: ") == 1, case.name
    told = [line for line in said.splitlines() if not line.startswith("libpng")]  # it speaks for itself
    assert len(told) == sum("error" in entry for entry in entries.values()) + 1
    assert "\x1b" not in said
    assert peak < LARGEST_RSS


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs resource usage of children")
def test_a_folder_of_bad_videos(tmp_path):
    cases = list(videos(tmp_path))
    lines = tmp_path / "out" / "lines.jsonl"
    code, _, said, peak = measured(
        tmp_path,
        "video",
        *(case.path for case in cases),
        "-o",
        tmp_path / "out",
        "--json",
        lines,
        "--every",
        "6",
    )
    assert code == 1, said
    assert "Traceback" not in said
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    for case in cases:
        shown = printable(str(case.path))
        seen = [row["pts_s"] for row in rows if row["type"] == "frame" and row["source_id"] == shown]
        if case.is_readable:
            assert case.frames - 6 <= len(seen) <= case.frames, case.name
            assert seen == sorted(set(seen)), case.name
            assert seen[-1] < 5, case.name
        else:
            assert not seen, case.name
            assert said.count(f"maskwatch: {shown}: ") == 1, case.name
    assert not [path for path in (tmp_path / "out").iterdir() if "part" in path.name]
    assert peak < LARGEST_RSS


@pytest.mark.parametrize("kind", list(BOMBS))
def test_bombs_are_refused_by_their_header(kind):
    """Also with a size that is just too much; and one that is not is read by a decoder."""
    with pytest.raises(ImageError, match=r"more than the limit|no picture that can be decoded"):
        read_picture(BOMBS[kind](20_000, 9_000))
    if kind not in ("ppm", "hdr", "gif"):
        assert read_picture(BOMBS[kind](40, 30)).size_wh == (40, 30)
    if kind != "hdr":
        assert read_header(BOMBS[kind](40, 30)).size_wh == (40, 30)


def test_a_tiff_cannot_hide_its_size_behind_its_tiles():
    """A tile is decoded whole: 1×1 pixels in a tile of 65,520² are 4 gigapixels."""
    content = bytearray(BOMBS["tif"](40, 30))
    place = content.find(b"\x16\x01\x04\x00")  # rows a strip becomes a tile's width
    content[place : place + 12] = b"\x42\x01\x04\x00\x01\x00\x00\x00" + (65_520).to_bytes(4, "little")
    place = content.find(b"\x17\x01\x04\x00")
    content[place : place + 12] = b"\x43\x01\x04\x00\x01\x00\x00\x00" + (65_520).to_bytes(4, "little")
    with pytest.raises(ImageError, match="more than the limit"):
        read_picture(bytes(content))


def test_jpeg_sizes_are_found_where_libjpeg_finds_them():
    """Fill bytes and stray bytes between segments are skipped; a size behind the pixels is none."""
    from benchmarks.corpus import encoded

    whole = encoded("JPEG")
    assert read_header(whole[:2] + b"\xff\xff" + whole[3:]).size_wh == (320, 240)
    scan = whole.find(b"\xff\xda")
    frame = whole.find(b"\xff\xc0")
    assert read_header(whole[:frame] + whole[scan:]) is None


def test_a_tiff_may_point_beyond_any_file():
    """Found by atheris: an offset of 64 bits that no `struct` takes."""
    assert read_header(b"II+\0\x08\0\0\0" + b"\xc8" * 40) is None


def test_largest_sizes_are_consistent():
    assert 89_478_485 < LARGEST_PIXELS < 2**28


def test_circles_of_links_end(tmp_path):
    """`**` through three links upwards has 3⁴⁰ paths."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    for number in range(3):
        (inner / f"up{number}").symlink_to(tmp_path, target_is_directory=True)
    (inner / "x.jpg").touch()
    (inner / ".hidden.jpg").touch()
    for pattern in (f"{tmp_path}/**/*.jpg", f"{tmp_path}/**", f"{tmp_path}"):
        found = [file.path.name for file in find_images([pattern])]
        assert found.count("x.jpg") == 1
    assert [file.path.name for file in find_images([f"{tmp_path}/a/b/.*.jpg"])] == [".hidden.jpg"]


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "x\0y.jpg", "", "-", "~nobody/x.jpg", "a/" * 2000])
def test_names_that_no_file_has(name):
    for file in find_images([name]):
        with pytest.raises(MaskwatchError):
            read_picture(file.path)


def test_a_full_standard_output_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "image", "examples/people.jpg", "--no-annotated", "--json", "-", "-q"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            timeout=HANG_S,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_what_videos_say_of_themselves_is_not_believed(tmp_path):
    """A clock that was set forwards and backwards leaves steps of a frame; the order stays."""
    frames = [portrait() for _ in range(9)]
    times = [Fraction(n, 10) for n in range(3)]
    times += [50_000 + Fraction(n, 10) for n in range(3)] + [100_000 + Fraction(n, 10) for n in range(3)]
    make_video(tmp_path / "leaps.mkv", frames, times)
    with VideoFile(tmp_path / "leaps.mkv") as video:
        seen = [frame.pts_s for frame in video]
        again = [frame.pts_s for frame in video]
    assert len(seen) == 9
    steps = np.diff(seen)
    assert steps.min() > 0
    assert steps.max() < 0.2
    assert again == seen


def test_a_late_first_frame_is_no_leap(tmp_path):
    times = [Fraction(7, 2) + Fraction(n, 10) for n in range(5)]
    make_video(tmp_path / "late.mkv", [portrait()] * 5, times)
    with VideoFile(tmp_path / "late.mkv") as video:
        assert len(list(video)) == 5
    with VideoFile(tmp_path / "late.mkv", start_s=0.2) as video:
        assert len(list(video)) == 3


def test_a_missing_video_beside_an_old_output(tmp_path):
    (tmp_path / "old.mp4").touch()
    done = run("video", tmp_path / "gone.mp4", "-o", tmp_path / "old.mp4")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "gone.mp4" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("without_mask_s = nan", "must be a number"),
        ("repeat_s = inf", "must be a number"),
        ("wrong_counts = 'no'", "true or false"),
        ("more_than = true", "must be a number"),
        ("a = " + "[" * 5000, "no TOML file"),
        ("[[zones]]\nname = 'x'\ncorners = [[nan, 0], [1, 0], [1, 1]]", "0 to 1"),
        ("zones = 5", "wrong value"),
    ],
)
def test_rules_with_impossible_values(tmp_path, content, words):
    from maskwatch import OptionError
    from maskwatch.rules_file import read_rules

    (tmp_path / "rules.toml").write_text(content)
    with pytest.raises(OptionError, match=words):
        read_rules(tmp_path / "rules.toml")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"images": [{"id": 1, "file_name": "../../etc/passwd", "width": 4, "height": 4}]},
            "outside the folder",
        ),
        ({"images": [{"id": 1, "file_name": "/etc/passwd", "width": 4, "height": 4}]}, "outside the folder"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": 1e999, "height": 4}]}, "OverflowError|number"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": -4, "height": 4}]}, "picture of -4"),
        ({"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}] * 2}, "share an id"),
        ({"annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1e30, 4]}]}, "lies nowhere"),
        ({"annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, float("nan"), 4]}]}, "NaN"),
    ],
)
def test_annotations_with_impossible_values(tmp_path, changed, words):
    from maskwatch import DatasetError
    from maskwatch.datasets import read_coco
    from tests.fuzz.seeds import COCO

    (tmp_path / "annotations.json").write_text(json.dumps({**COCO, **changed}))
    with pytest.raises(DatasetError, match=words):
        read_coco(tmp_path)


def test_names_of_labels_take_no_time(tmp_path):
    """A megabyte of `names: [` without end took the old pattern hours."""
    from maskwatch.curation.convert import _names_of_yaml

    assert _names_of_yaml("names: [\n" * 100_000) == []
    assert _names_of_yaml("nc: 2\nnames: ['a',\n  \"b\"]\n") == ["a", "b"]
    assert _names_of_yaml("names:\n- a\n- b\nnc: 2\n") == ["a", "b"]
    assert _names_of_yaml("names:\n  0: a\n  1: 'b'\n") == ["a", "b"]

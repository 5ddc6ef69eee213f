"""Pictures without faces: which files of a package are taken, and how false alarms are counted."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from benchmarks import faceless

from maskwatch.detections import Detections
from maskwatch.evaluate import Curve

NOISE = np.random.default_rng(0).integers(0, 256, (4, 160, 200, 3), dtype=np.uint8)


def saved(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_what_is_transparent_becomes_grey(tmp_path):
    pixels = np.dstack([NOISE[0], np.full((160, 200), 255, np.uint8)])
    pixels[:, :100, 3] = 0
    image = np.asarray(faceless.read(saved(tmp_path / "cut.png", pixels)))
    assert image.shape == (160, 200, 3)
    assert (image[:, :99] == 128).all()
    np.testing.assert_array_equal(image[:, 100:], NOISE[0][:, 100:])


def test_large_pictures_are_made_smaller(tmp_path):
    large = faceless.read(saved(tmp_path / "large.png", np.tile(NOISE[0], (5, 5, 1))))
    assert large is not None
    assert large.size == (640, 512)


@pytest.mark.parametrize(
    "pixels",
    [NOISE[0][:90], np.full((200, 200, 3), 77, np.uint8)],
    ids=["small", "of one colour"],
)
def test_pictures_that_teach_nothing(tmp_path, pixels):
    assert faceless.read(saved(tmp_path / "one.png", pixels)) is None


def test_pictures_are_carved_out_of_resources(tmp_path):
    first, second = (saved(tmp_path / f"{number}.webp", NOISE[number]).read_bytes() for number in (0, 1))
    file = tmp_path / "erase.rcc"
    file.write_bytes(b"qres" + first + b"RIFF\x04\0\0\0WAVE" + b"names RIFF" + second + b"tree")
    faceless.carve(file)
    carved = [tmp_path / f"erase-000{number}.webp" for number in (0, 1)]
    assert [one.read_bytes() for one in carved] == [first, second]
    assert not (tmp_path / "erase-0002.webp").exists()


def test_what_is_no_picture(tmp_path):
    (tmp_path / "one.png").write_bytes(b"no picture")
    assert faceless.read(tmp_path / "one.png") is None


def test_the_order_depends_on_names_alone(tmp_path):
    for number, pixels in enumerate(NOISE):
        for place in ("here", "there"):
            saved(tmp_path / place / f"a/{number}.png", pixels)
    here, there = (
        [picture.name for picture in faceless.pictures_in(tmp_path / place, "some-data")]
        for place in ("here", "there")
    )
    assert here == there
    assert len(set(here)) == len(NOISE)
    assert all(name.startswith("some-data__") for name in here)


def test_what_looks_the_same_is_taken_once(tmp_path):
    brighter = np.clip(NOISE[0].astype(int) + 9, 0, 255).astype(np.uint8)
    for number, pixels in enumerate([NOISE[0], brighter, NOISE[1]]):
        saved(tmp_path / f"{number}.png", pixels)
    pictures = list(faceless.different(faceless.pictures_in(tmp_path, "some-data")))
    assert len(pictures) == 2


def test_no_package_serves_both_ends():
    assert not faceless.MOST_OF["train"].keys() & faceless.MOST_OF["test"].keys()


def test_false_alarms_are_counted_at_the_score_that_finds_as_many_faces():
    curve = Curve(
        recall=np.array([0.25, 0.5, 0.5, 0.75]),
        precision=np.ones(4),
        score=np.array([0.9, 0.8, 0.7, 0.6]),
        truths=4,
    )
    assert faceless.score_at(curve, 0.5) == 0.8
    assert faceless.score_at(curve, 0.9) is None
    found = [with_scores(0.95, 0.85, 0.5), with_scores(0.7), with_scores(), with_scores(0.8)]
    assert faceless.alarms(found, 0.8) == faceless.Alarms(0.8, 75.0, 0.5)


def with_scores(*scores):
    count = len(scores)
    xyxy = np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1))
    return Detections(xyxy=xyxy, score=np.array(scores, np.float32), label=np.zeros(count, np.int8))

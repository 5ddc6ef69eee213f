"""The tutorial's scripts on our API: short, with the arguments that people know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from tests.clips import make_clip

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ARGUMENTS = {
    "train_mask_detector.py": ("--dataset", "--plot", "--model"),
    "image.py": ("--image", "--face", "--model", "--confidence"),
    "video.py": ("--face", "--model", "--confidence"),
    "realtime.py": ("--face", "--model", "--confidence"),
}


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_each_is_short_and_takes_the_known_arguments(name):
    assert len((EXAMPLES / name).read_text().splitlines()) <= 30
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    for argument in ARGUMENTS[name]:
        assert argument in done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory, class_folder) -> Path:
    folder = tmp_path_factory.mktemp("tutorial")
    target = folder / "mask_detector.keras"
    done = run(
        "train_mask_detector.py", "-d", class_folder, "-p", folder / "p.png", "-m", target, "-w", "random"
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 20: val_accuracy" in done.stdout
    assert (folder / "p.png").stat().st_size > 5000
    assert target.is_file()
    return target.with_suffix(".onnx")


def test_training_leaves_a_model_for_the_others(model):
    assert model.is_file()


def test_image_finds_and_judges_with_the_tutorials_pipeline(model, shared, astronaut, tmp_path):
    PIL.Image.fromarray(astronaut).save(tmp_path / "a.png")
    face = shared / "peers" / "opencv_face_detector_uint8.pb"
    done = run("image.py", "-i", tmp_path / "a.png", "-f", face, "-m", model, "-o", tmp_path / "out.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("x1") == 1
    assert (tmp_path / "out.jpg").is_file()


def test_video_follows_and_judges(model, shared, astronaut, tmp_path):
    clip = make_clip(tmp_path / "a.mp4", [astronaut[:400, :400]] * 12)
    face = shared / "peers" / "opencv_face_detector_uint8.pb"
    done = run("video.py", "-v", clip, "-f", face, "-m", model, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "12 frames, 1 people" in done.stdout
    assert (tmp_path / "out.mp4").stat().st_size > 1000

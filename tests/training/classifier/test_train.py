"""`maskwatch train` from class folders to `maskwatch image --classifier`, on each backend there is."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import PIL.Image
import pytest

from maskwatch.classifier import Classifier
from maskwatch.training.classifier.augment import vary
from maskwatch.training.classifier.config import ClassifierConfig

BACKENDS = ("torch", "tensorflow", "jax")
TINY = ["--weights", "random", "--alpha", "0.35", "--size", "32", "--batch-size", "8", "--dense-units", "8"]


def maskwatch(*arguments: object, backend: str = "torch") -> subprocess.CompletedProcess[str]:
    code = "from maskwatch.cli.app import main; main()"
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, class_folder):
    folder = tmp_path_factory.mktemp("run")
    done = maskwatch("train", class_folder, "-o", folder, "--epochs", 2, *TINY)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_leaves_all_that_it_promises(trained, class_folder):
    folder, done = trained
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "mask_detector.keras",
        "mask_detector.onnx",
        "plot.png",
        "mistakes.jpg",
        "report.json",
        "report.md",
        "MODEL_CARD.md",
        "config.json",
        "split.csv",
    }
    report = json.loads((folder / "report.json").read_text())
    assert report["data"]["exact_duplicates"] == 1
    assert list(report["data"]["corrupt"]) == ["with_mask/broken.jpg"]
    assert "1 unreadable, left out: with_mask/broken.jpg" in done.stderr
    assert report["split"]["leaks"] == 0
    confusion = np.array(report["test"]["confusion"])
    assert confusion.sum() == report["split"]["test"]
    assert report["test"]["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum(), abs=1e-6)
    rows = list(csv.DictReader((folder / "split.csv").read_text().splitlines()))
    parts = {row["file"]: row["part"] for row in rows}
    assert parts["without_mask/3.png"] == parts["without_mask/copy-of-3.png"]
    card = Classifier(folder / "mask_detector.onnx").card
    assert card.classes == card.labels == ("with_mask", "without_mask")
    assert card.accuracy == report["test"]["accuracy"]
    assert "about" in done.stderr


def test_the_same_command_goes_on_and_other_options_do_not(trained, class_folder):
    folder, _ = trained
    before = json.loads((folder / "report.json").read_text())["history"]
    state = json.loads((folder / "state" / "state.json").read_text())
    state["history"] = state["history"][:1]  # as if cut off after the first epoch
    (folder / "state" / "state.json").write_text(json.dumps(state))
    (folder / "state" / "head-2.keras").rename(folder / "state" / "head-1.keras")
    again = maskwatch("train", class_folder, "-o", folder, "--epochs", 2, *TINY)
    assert again.returncode == 0, again.stderr
    assert "epoch 1:" not in again.stderr
    assert "epoch 2:" in again.stderr
    after = json.loads((folder / "report.json").read_text())["history"]
    assert after[0] == before[0]
    other = maskwatch("train", class_folder, "-o", folder, "--epochs", 3, *TINY)
    assert other.returncode == 1
    assert "holds a run with other pictures, options or weights" in other.stderr
    assert "Traceback" not in other.stderr


def test_train_then_image_then_export(trained, astronaut, tmp_path):
    folder, _ = trained
    PIL.Image.fromarray(astronaut).save(tmp_path / "photo.png")
    onnx = folder / "mask_detector.onnx"
    done = maskwatch("image", tmp_path / "photo.png", "-o", tmp_path, "--json", "-", "--classifier", onnx)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["model"]["name"].endswith(" + mask_detector")
    assert len(content["images"][0]["faces"]) == 1
    done = maskwatch("export", folder / "mask_detector.keras", "-o", tmp_path / "x.onnx", "--int8")
    assert done.returncode == 0, done.stderr
    crops = [astronaut[60:180, 170:270], astronaut[300:400, 300:400]]
    first, second = (Classifier(path).probabilities(crops) for path in (onnx, tmp_path / "x.onnx"))
    np.testing.assert_allclose(first, second, atol=1e-6)
    small = Classifier(tmp_path / "x-int8.onnx")
    assert small.card.classes == ("with_mask", "without_mask")
    np.testing.assert_allclose(small.probabilities(crops), first, atol=0.2)
    assert "same class on" in done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tiny_fine_tune_on_each_backend(backend, class_folder, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    options = ["--epochs", 1, "--fine-tune", 1, "--fine-tune-epochs", 1, "--no-augment", "--patience", 1]
    done = maskwatch("train", class_folder, "-o", tmp_path, *options, *TINY, backend=backend)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["versions"]["backend"] == backend
    card = Classifier(tmp_path / "mask_detector.onnx").card
    assert 0 <= card.accuracy <= 1
    if backend == "tensorflow":
        tflite = maskwatch("export", tmp_path / "mask_detector.keras", "--litert", backend=backend)
        assert tflite.returncode == 0, tflite.stderr
        assert "same class on 100.0%" in tflite.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nowhere"], 1, "nowhere: no such folder"),
        (["train", ".", "--size", "100"], 2, "size_px must be a multiple of 32"),
        (["train", ".", "--label", "x"], 2, "write CLASS=LABEL"),
        (["export", "nowhere.h5"], 1, "nowhere.h5: cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(arguments, code, words):
    done = maskwatch(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_variations_are_repeatable_and_differ(astronaut):
    square = np.ascontiguousarray(astronaut[:224, :224])
    config = ClassifierConfig()
    first, again, other = (vary(square, config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    still = ClassifierConfig(rotation_deg=0, zoom=0, shift=0, shear=0, flip=False)
    assert np.array_equal(vary(square, still, np.random.default_rng(0)), square)

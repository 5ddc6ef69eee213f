import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.commands import run


def grey(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, astronaut, masked) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    PIL.Image.fromarray(astronaut).save(folder / "bare.jpg", quality=95)
    PIL.Image.fromarray(masked).save(folder / "sub" / "masked.png")
    return folder


def test_a_folder_becomes_copies_tables_and_a_summary(folder, tmp_path):
    out = tmp_path / "out"
    tables = ["--json", out / "r.json", "--csv", out / "r.csv"]
    done = run("image", folder, "-o", out, *tables, "--save-crops", "--score-threshold", 0.6)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (
        "2 images, 2 faces: 1 with mask, 1 without, 0 worn wrong, 0 uncertain; compliance 50.0%"
        in done.stderr
    )
    content = json.loads((out / "r.json").read_text())
    assert [Path(image["path"]).name for image in content["images"]] == ["bare.jpg", "masked.png"]
    assert content["summary"]["compliance"] == 0.5
    assert len(content["model"]["sha256"]) == 64
    rows = list(csv.DictReader((out / "r.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == ["without_mask", "with_mask"]
    assert {str(path.relative_to(out)) for path in out.rglob("*.*")} == {
        "bare.jpg",
        "sub/masked.png",
        "crops/without_mask/bare_0.jpg",
        "crops/with_mask/sub_masked_0.jpg",
        "r.json",
        "r.csv",
    }
    with PIL.Image.open(out / "crops/without_mask/bare_0.jpg") as crop:
        assert min(crop.size) > 60


def test_results_can_go_to_standard_output(folder):
    done = run("image", folder / "bare.jpg", "--json", "-", "--no-annotated", "--quiet")
    assert json.loads(done.stdout)["images"][0]["faces"][0]["verdict"] == "without_mask"
    assert done.stderr == ""


def test_broken_files_are_named_and_the_rest_go_on(folder, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    paths = [tmp_path / "broken.jpg", tmp_path / "gone.jpg", folder / "bare.jpg"]
    done = run("image", *paths, "-o", tmp_path / "o", "--score-threshold", 0.6)
    assert done.returncode == 1
    assert "broken.jpg: is no picture that can be decoded" in done.stderr
    assert "gone.jpg: cannot be read (No such file" in done.stderr
    assert "3 images (2 unreadable), 1 faces" in done.stderr
    assert (tmp_path / "o" / "bare.jpg").is_file()
    assert "Traceback" not in done.stderr


def test_inputs_are_never_overwritten(folder, tmp_path, astronaut):
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(astronaut).save(path)
    before = path.read_bytes()
    for _ in range(2):
        assert run("image", path, "-o", tmp_path).returncode == 0
    assert path.read_bytes() == before
    assert (tmp_path / "photo-annotated.png").is_file()


def test_blurred_copies_hide_the_face(folder, tmp_path, detector, astronaut):
    run("image", folder / "bare.jpg", "-o", tmp_path, "--blur", "--no-annotated")
    x1, y1, x2, y2 = detector.detect(astronaut).xyxy[0].astype(int)
    bare, shown = (grey(place / "bare.jpg")[y1:y2, x1:x2] for place in (folder, tmp_path))
    assert np.abs(np.diff(shown, axis=1)).mean() < 0.35 * np.abs(np.diff(bare, axis=1)).mean()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["image"], "Missing argument"),
        (["image", "x.jpg", "--score-threshold", "2"], "score_threshold must lie between 0 and 1"),
        (["image", "x.jpg", "--nonsense"], "No such option"),
        (["imagge"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_and_an_empty_folder_exit_with_1(folder, tmp_path):
    done = run("image", folder, "--model", tmp_path / "no.onnx")
    assert done.returncode == 1
    assert done.stderr.startswith("maskwatch: ")
    assert done.stderr.count("\n") == 1
    assert "no pictures found" in run("image", tmp_path).stderr


def test_an_output_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    done = run("image", folder / "bare.jpg", "-o", tmp_path / "file")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    done = run("image", folder / "bare.jpg", "--no-annotated", "--json", tmp_path / "file" / "x.json")
    assert done.returncode == 1
    assert "x.json: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_light_and_names_every_option():
    code = (
        "import sys, typer.testing; from maskwatch.cli.app import app;"
        "print(typer.testing.CliRunner().invoke(app, ['image', '--help']).output);"
        "heavy = {'torch', 'cv2', 'onnxruntime', 'numpy', 'av', 'keras', 'fastapi', 'ray', 'sqlalchemy'};"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    for option in ("--output", "--json", "--csv", "--save-crops", "--blur", "--score-threshold", "--model"):
        assert option in done.stdout


def test_version():
    from maskwatch import __version__

    assert run("--version").stdout == f"maskwatch {__version__}\n"


def test_non_utf8_and_odd_names(folder, tmp_path, astronaut):
    odd = tmp_path / "gäste [1] %s.png"
    PIL.Image.fromarray(np.ascontiguousarray(astronaut)).save(odd)
    done = run("image", odd, "-o", tmp_path / "o", "--csv", tmp_path / "o" / "r.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "gäste [1] %s.png").is_file()

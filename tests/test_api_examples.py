"""The example of each public name runs as it stands; results fit pandas, Pillow and notebooks."""

from __future__ import annotations

import base64
import doctest
import importlib
import io
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import maskwatch
from maskwatch import Detections, MissingExtraError, show
from tests.conftest import SHARED
from tests.test_classifier import make

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = sorted(set(maskwatch.__all__) - {"__version__"})
SERVER = "http://127.0.0.1:8360"


def text_of(name: str) -> str:
    thing = getattr(maskwatch, name)
    if isinstance(thing, tuple):  # a constant is described by its module
        return importlib.import_module(f"maskwatch.{maskwatch._HOMES[name]}").__doc__
    return thing.__doc__


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(EXAMPLES / "people.jpg", folder)
    make(folder / "mask_detector.onnx", classes=("with_mask", "without_mask"))
    if (SHARED / "peers" / "opencv_face_detector_uint8.pb").is_file():
        (folder / "face_detector").mkdir()
        for ending in ("pb", "pbtxt"):
            for found in (SHARED / "peers").glob(f"opencv_face_detector*.{ending}"):
                shutil.copy(found, folder / "face_detector")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name(name, place, monkeypatch, request):
    text = text_of(name)
    assert ">>>" in text, f"{name} has no example"
    if name == "OpenCvFaces" and not (place / "face_detector").is_dir():
        pytest.skip("the tutorial's face detector is not here")
    if SERVER in text:
        serving = pytest.importorskip("maskwatch.web.serving")
        one_thread = request.getfixturevalue("one_thread")
        with serving.serving(one_thread, one_thread, serving.ServeOptions(port=0)) as server:
            check(text.replace(SERVER, server.url), name, place, monkeypatch)
    else:
        check(text, name, place, monkeypatch)


def check(text, name, place, monkeypatch):
    monkeypatch.chdir(place)
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    said = io.StringIO()
    result = doctest.DocTestRunner().run(test, out=said.write)
    assert result.attempted
    assert not result.failed, said.getvalue()


@pytest.fixture
def two() -> Detections:
    return Detections(
        xyxy=np.array([[10, 20, 110, 140], [200, 20, 260, 90]], np.float32),
        score=np.array([0.9, 0.6], np.float32),
        label=np.array([0, 1]),
    )


def test_to_pandas(two):
    pandas = pytest.importorskip("pandas")
    frame = two.to_pandas()
    assert frame.shape == (2, 11)
    assert frame.loc[frame.verdict == "without_mask", "x1"].tolist() == [200]
    assert frame.track_id.tolist() == [-1, -1]
    np.testing.assert_allclose(frame.with_mask, [0.9, 0])
    empty = Detections.empty().to_pandas()
    assert list(empty.columns) == list(frame.columns)
    assert empty.empty
    assert len(pandas.json_normalize(two.to_dicts())) == 2


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("pandas", lambda faces: faces.to_pandas()),
        ("supervision", lambda faces: faces.to_supervision()),
        ("PIL.Image", lambda faces: show(np.zeros((150, 300, 3), np.uint8), faces).to_pil()),
    ],
)
def test_a_package_that_is_not_there_is_named(two, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="pip install"):
        call(two)


def test_faces_as_a_table(two):
    table = two._repr_html_()
    assert table.count("<tr>") == 3
    assert "<td>without_mask</td><td>0.60</td><td>200, 20, 260, 90</td>" in table
    many = Detections.concatenate([two] * 40)._repr_html_()
    assert many.count("<tr>") == 52
    assert "… and 30 more" in many
    assert Detections.empty()._repr_html_().count("<tr>") == 1


@pytest.mark.parametrize(("size", "shown_size"), [((1600, 800), (480, 240)), ((300, 150), (300, 150))])
def test_a_picture_in_a_notebook(two, size, shown_size):
    image = PIL.Image.new("RGB", size, (200, 180, 160))
    shown = show(image, two)
    html = shown._repr_html_()
    data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)[1]
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).size == shown_size
    assert "<table>" in html
    drawn = shown.to_pil()
    assert drawn.size == size
    assert (np.asarray(drawn) != np.asarray(image)).any()


def test_show_can_blur(masked, face_box):
    face = Detections(xyxy=face_box, score=np.array([0.9]), label=np.array([0]))
    plain, blurred = show(masked, face), show(masked, face, blur=True)
    x, y = (face_box[0][:2] + face_box[0][2:]).astype(int) // 2
    inside = np.s_[y - 20 : y + 20, x - 20 : x + 20]
    assert blurred.image[inside].std() < 0.7 * plain.image[inside].std()

"""The second stage: crops, labels that add up, and first stages of OpenCV."""

from __future__ import annotations

import numpy as np
import pytest

from maskwatch import Classifier, ClassifierCard, Detections, OpenCvFaces, TwoStage
from maskwatch.classifier import crop
from maskwatch.classifier_card import StagesCard
from maskwatch.errors import ModelError, OptionError

onnx = pytest.importorskip("onnx", reason="making a model needs the extra `train`")


def make(path, classes=("dark", "light"), labels=("with_mask", "without_mask")):
    """A classifier that tells light crops from dark ones, by their mean."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Gemm", ["column", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weight = np.array([[-0.1, 0.1] + [0.0] * (len(classes) - 2)], np.float32)
    bias = np.array([12.8, -12.8] + [-50.0] * (len(classes) - 2), np.float32)
    arrays = {"axes": np.array([1, 2, 3]), "shape": np.array([-1, 1]), "weight": weight, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "light",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "k"])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, ClassifierCard("light", classes, labels, (8, 8), 0.0).to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


class TwoBoxes:
    """Finds the same two faces everywhere."""

    card = StagesCard("two boxes", "1", "0", 0.5)

    def detect(self, image, /):
        boxes = np.array([[0, 0, 20, 20], [30, 0, 50, 20]], np.float32)
        return Detections(xyxy=boxes, score=np.array([0.9, 0.8]), label=np.array([2, 2]))


def test_the_classifier_has_the_last_word(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 255
    stages = TwoStage(TwoBoxes(), Classifier(make(tmp_path / "light.onnx")))
    found = stages.detect(image)
    assert found.verdict_names == ["with_mask", "without_mask"]
    assert found.score.tolist() == pytest.approx([0.9, 0.8])
    assert found.label_scores[0].tolist() == pytest.approx([0.9, 0, 0], abs=1e-3)
    assert stages.card.name == "two boxes + light"
    image[:, 30:] = 128
    assert stages.detect(image).verdict_names == ["with_mask", "uncertain"]


def test_classes_of_one_label_add_up_and_meaningless_ones_are_named(tmp_path):
    three = make(tmp_path / "3.onnx", ("dark", "light", "n95"), ("with_mask", "with_mask", "without_mask"))
    scores = Classifier(three).label_scores([np.full((9, 9, 3), 128, np.uint8)])
    assert scores[0, 0] == pytest.approx(1, abs=1e-6)
    unknown = make(tmp_path / "u.onnx", labels=("with_mask", ""))
    with pytest.raises(ModelError, match=r"class 'light' means no label.*--label light=with_mask"):
        TwoStage(TwoBoxes(), Classifier(unknown))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.keras").write_bytes(b"x")
    with pytest.raises(ModelError, match="convert it first: maskwatch export"):
        Classifier(tmp_path / "x.keras")
    with pytest.raises(ModelError, match="cannot be read"):
        Classifier(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="no ONNX model"):
        (tmp_path / "x.onnx").write_bytes(b"x")
        Classifier(tmp_path / "x.onnx")
    with pytest.raises(OptionError, match="give each class one"):
        ClassifierCard("x", ("a", "b"), ("with_mask",), (8, 8), 0.0)


def test_crops_stay_inside_the_picture():
    image = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    assert crop(image, np.array([0, 0, 10, 10], np.float32), 0.5).shape == (15, 15, 3)
    assert crop(image, np.array([39.5, 29.5, 60, 60], np.float32), 0.0).shape == (1, 1, 3)
    assert np.array_equal(crop(image, np.array([4, 2, 10, 8], np.float32), 0.0), image[2:8, 4:10])


def test_face_detectors_of_opencv_say_what_is_missing(tmp_path):
    (tmp_path / "res10.caffemodel").write_bytes(b"x")
    with pytest.raises(ModelError, match="no longer reads Caffe files"):
        OpenCvFaces(tmp_path)
    (tmp_path / "ssd.pb").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"its layout ssd\.pbtxt is not beside it"):
        OpenCvFaces(tmp_path / "ssd.pb")
    with pytest.raises(ModelError, match="no face detector that is known"):
        OpenCvFaces(tmp_path / "x.txt")
    with pytest.raises(OptionError, match="score_threshold"):
        OpenCvFaces(tmp_path / "ssd.pb", 2.0)


def test_the_tutorials_own_pipeline(shared, astronaut, tmp_path):
    faces = OpenCvFaces(shared / "peers" / "opencv_face_detector_uint8.pb").detect(astronaut)
    assert len(faces) == 1
    assert abs(faces.xyxy[0] - [178, 63, 268, 176]).max() < 30

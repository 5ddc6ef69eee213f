"""Model files as a trust boundary: what leads outside, loops, or takes a machine's memory is refused."""

from __future__ import annotations

import io
import json
import time
import zipfile

import numpy as np
import pytest

from maskwatch import Classifier, Detector, ImageError, ModelError
from maskwatch.onnx_file import FLOAT, MOST_NODES, UINT8, Tensor, check_signature, read_onnx
from maskwatch.onnx_session import most_memory_bytes
from tests.fuzz.seeds import keras_files, tiny_detector

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto


@pytest.fixture
def model():
    """A detector of a kilobyte, to be spoilt."""
    return onnx.load_from_string(tiny_detector())


def refused(model, tmp_path, words):
    """Refused when read, and when opened, without a file in the way having been touched."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ModelError, match=words):
        read_onnx(data, "x.onnx")
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=words):
        Detector(tmp_path / "x.onnx")


def test_the_tiny_detector_and_the_shipped_one_pass(tmp_path, detector):
    (tmp_path / "tiny.onnx").write_bytes(tiny_detector())
    tiny = Detector(tmp_path / "tiny.onnx")
    assert len(tiny.card.sha256) == 64
    assert len(detector.card.sha256) == 64


def test_external_data_is_refused(model, tmp_path, monkeypatch):
    """onnxruntime would read weights from any path, relative to where the program runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.array([1, 4], np.int64).tobytes())
    constant = model.graph.initializer[0]
    constant.ClearField("int64_data")
    constant.data_location = TensorProto.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    refused(model, tmp_path, "external data")
    constant.data_location = TensorProto.DEFAULT  # still names a file
    refused(model, tmp_path, "external data")


def test_external_data_in_a_node_is_refused(model, tmp_path):
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    tensor.external_data.add().key = "location"
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    refused(model, tmp_path, "external data")


def test_foreign_and_endless_operators_are_refused(model, tmp_path):
    model.graph.node[0].domain = "com.evil"
    refused(model, tmp_path, "operators of 'com.evil'")
    model.graph.node[0].domain = ""
    model.graph.node[0].op_type = "RandomNormal"
    refused(model, tmp_path, "the operator 'RandomNormal'")
    body = helper.make_graph([], "body", [], [])
    model.graph.node[0].op_type = "Identity"
    model.graph.node[0].attribute.append(helper.make_attribute("body", body))
    refused(model, tmp_path, "a graph or type of its own")


def test_functions_training_and_other_formats_are_refused(model, tmp_path):
    function = model.functions.add()
    function.name = "f"
    refused(model, tmp_path, "holds functions")
    del model.functions[:]
    model.training_info.add()
    refused(model, tmp_path, "training information")
    refused(b"\x00\x00\x00\x00ORTM" + bytes(99), tmp_path, "onnxruntime's own format")
    refused(b"", tmp_path, "no ONNX model")


def test_sizes_are_bounded(model, tmp_path):
    model.graph.initializer[0].dims[:] = [2**20, 2**20]
    refused(model, tmp_path, "a constant of")
    model.graph.initializer[0].dims[:] = [-4]
    refused(model, tmp_path, "a constant of")
    model.graph.initializer[0].dims[:] = [2]
    model.graph.node.extend([helper.make_node("Identity", ["a"], ["b"])] * MOST_NODES)
    refused(model, tmp_path, "operators, more than")


def test_a_model_of_another_kind_is_refused_before_it_is_opened(model, tmp_path):
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 5
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="xyxy is float32 n×5, not float32 faces×4"):
        Detector(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=r"its inputs are images, score_threshold.*, not images"):
        Classifier(tmp_path / "x.onnx")
    file = read_onnx(tiny_detector(), "x")
    with pytest.raises(ModelError, match="images is uint8 b×h×w×c, not float32"):
        check_signature(
            file, "x", {**file.inputs, "images": Tensor(FLOAT, ("b", "h", "w", "c"))}, file.outputs
        )
    assert file.inputs["images"] == Tensor(UINT8, ("b", "h", "w", "c"))


def test_a_model_cannot_take_all_memory(model, tmp_path):
    """A kilobyte that asks for more tensors than the machine has memory: an error, and at once."""
    sides = [2**20, most_memory_bytes() // 2**20]
    node = model.graph.node[1]
    model.graph.initializer[0].dims[:] = [2]
    model.graph.initializer[0].int64_data[:] = sides
    assert node.op_type == "Expand"
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    bomb = Detector(tmp_path / "x.onnx")
    started = time.monotonic()
    with pytest.raises(ImageError, match="the network failed on it"):
        bomb.detect(np.zeros((32, 32, 3), np.uint8))
    assert time.monotonic() - started < 10


def test_answers_that_are_no_numbers_are_refused(model, tmp_path):
    model.graph.node[0].op_type = "Div"  # 1000 / 1000: one face …
    model.graph.node.append(helper.make_node("Log", ["minus"], ["nan"]))
    model.graph.initializer.append(helper.make_tensor("minus", TensorProto.FLOAT, [1], [-1.0]))
    model.graph.node[1].input[0] = "nan"
    nodes = [model.graph.node[3], *list(model.graph.node)[:3]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="numbers that are none"):
        Detector(tmp_path / "x.onnx").detect(np.zeros((32, 32, 3), np.uint8))


h5py = pytest.importorskip("h5py")


def spoilt_h5(path, spoil):
    """A file of Keras weights with something in place of an array."""
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/1"] = np.zeros(2, np.float32)
        spoil(file.require_group("layers/dense/vars"))
    return path


def outside_link(folder):
    return lambda group: group.__setitem__("0", h5py.ExternalLink(str(folder / "other.h5"), "/secret"))


def outside_data(folder):
    return lambda group: group.create_dataset(
        "0", shape=(192, 2), dtype="f4", external=[(str(folder / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    )


def virtual_data(folder):
    def spoil(group):
        layout = h5py.VirtualLayout(shape=(192, 2), dtype="f4")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", shape=(192, 2))
        group.create_virtual_dataset("0", layout)

    return spoil


def huge_data(_folder):
    return lambda group: group.create_dataset("0", shape=(2**20, 2**20), dtype="f4", chunks=(64, 64))


@pytest.mark.parametrize("spoil", [outside_link, outside_data, virtual_data, huge_data])
def test_weights_that_lie_elsewhere_are_refused_everywhere(tmp_path, spoil):
    """By our reader, by the check before Keras reads a file, and by the warm start from MobileNetV2."""
    from maskwatch.training.hdf5 import check_state_file, check_weights_file

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((192, 2), np.float32)
    np.ones((192, 2), np.float32).tofile(tmp_path / "secret.bin")
    path = spoilt_h5(tmp_path / "w.weights.h5", spoil(tmp_path))
    with pytest.raises(ModelError, match=r"outside the file|leads elsewhere|more than"):
        check_weights_file(path)
    archive = tmp_path / "m.keras"
    with zipfile.ZipFile(io.BytesIO(keras_files()[0])) as good, zipfile.ZipFile(archive, "w") as bad:
        bad.writestr("config.json", good.read("config.json"))
        bad.writestr("model.weights.h5", path.read_bytes())
    from maskwatch.training.classifier.keras_file import read_keras

    for read in (read_keras, check_state_file):
        with pytest.raises(ModelError, match=r"outside the file|leads elsewhere|more than"):
            read(archive)


@pytest.mark.parametrize("spoil", [outside_link, outside_data, virtual_data, huge_data])
def test_a_warm_start_reads_no_other_file(tmp_path, spoil):
    pytest.importorskip("torch")
    from maskwatch import TrainingError
    from maskwatch.training.config import NetworkConfig
    from maskwatch.training.network import MaskNet
    from maskwatch.training.warm_start import load_mobilenet

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((192, 2), np.float32)
    np.ones((192, 2), np.float32).tofile(tmp_path / "secret.bin")
    path = tmp_path / "w.weights.h5"
    with h5py.File(path, "w") as file:
        spoil(tmp_path)(file.require_group("layers/conv2d/vars"))
    with pytest.raises(TrainingError, match=r"outside the file|leads elsewhere|more than"):
        load_mobilenet(MaskNet(NetworkConfig(backbone="mobilenet_v2")), path)


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "module": "keras.layers", "config": {}},
        {"class_name": "function", "module": "os", "config": "system"},
        {"class_name": "enable_unsafe_deserialization", "module": "keras.config", "config": {}},
        {"class_name": "Popen", "module": "subprocess", "config": {}},
    ],
)
def test_a_runs_own_state_cannot_run_code(tmp_path, layer):
    """What Keras would import by name (CVE-2025-1550, CVE-2025-9906) is found wherever it lies."""
    from maskwatch.training.hdf5 import check_state_file

    with zipfile.ZipFile(io.BytesIO(keras_files()[0])) as good:
        layout, weights = json.loads(good.read("config.json")), good.read("model.weights.h5")
    sound = tmp_path / "sound.keras"
    for path, inner in ((sound, []), (tmp_path / "bad.keras", [[{"deep": layer}]])):
        layout["config"]["layers"][2]["config"]["inner"] = inner
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(layout))
            archive.writestr("model.weights.h5", weights)
    check_state_file(sound)
    with pytest.raises(ModelError, match="which is not run"):
        check_state_file(tmp_path / "bad.keras")


def test_face_detectors_are_checked_too(tmp_path, model):
    from maskwatch import OpenCvFaces

    model.graph.initializer[0].external_data.add().key = "location"
    (tmp_path / "yunet.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="external data"):
        OpenCvFaces(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_bytes(tiny_detector())
    with pytest.raises(ModelError, match="take another copy"):
        OpenCvFaces(tmp_path / "yunet.onnx").detect(np.zeros((64, 64, 3), np.uint8))

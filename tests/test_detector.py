import dataclasses

import numpy as np
import onnx
import PIL.Image
import pytest

from maskwatch import Detections, DetectOptions, Detector, ImageError, ModelError, OptionError
from maskwatch.boxes import iou
from maskwatch.detector import DEFAULT_MODEL, DEVICES, packaged_models
from maskwatch.synthesis import draw_mask
from tests.conftest import jpeg


def test_an_unmasked_face_is_found(detector, astronaut, face_box):
    found = detector.detect(astronaut)
    assert found.verdict_names == ["without_mask"]
    assert iou(found.xyxy, face_box)[0, 0] > 0.6


@pytest.mark.parametrize("kind", ["surgical", "ffp2", "black", "cloth"])
def test_a_drawn_mask_is_found(detector, astronaut, landmarks, kind):
    picture = draw_mask(astronaut, landmarks, kind=kind, rng=np.random.default_rng(1))
    assert detector.detect(picture).label_names == ["with_mask"]


def test_every_kind_of_source_gives_the_same_faces(detector, masked, tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(masked).save(path)
    expected = detector.detect(masked)
    for source in (path, str(path), path.read_bytes(), PIL.Image.open(path)):
        assert detector.detect(source) == expected


def test_a_batch_gives_what_single_pictures_give(detector, astronaut, masked):
    small = np.ascontiguousarray(masked[::2, ::2])
    pictures = [astronaut, small, masked]
    alone = [detector.detect(one) for one in pictures]
    for batch in (detector.detect(pictures), detector.detect(tuple(pictures))):
        assert [one.verdict_names for one in batch] == [one.verdict_names for one in alone]
        for one, other in zip(batch, alone, strict=True):
            np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.05)  # sums in another order
    assert len(detector.detect(np.stack([astronaut, masked]))) == 2
    assert detector.detect([]) == []


def test_boxes_are_in_the_originals_pixels(astronaut, face_box):
    large = np.asarray(PIL.Image.fromarray(astronaut).resize((2560, 2560)))
    found = Detector(options=DetectOptions(max_side=512)).detect(large)
    assert iou(found.xyxy, face_box * 5)[0, 0] > 0.6


@pytest.mark.parametrize("factor", [0.1, 0.25, 1, 3, 4])
def test_faces_from_tiny_to_huge_are_found(astronaut, landmarks, factor):
    """One face from 10 px to the whole of a 1024-px picture, masked and bare."""
    for image in (astronaut, draw_mask(astronaut, landmarks)):
        crop = image[40:200, 150:310] if factor >= 3 else image
        side = round(crop.shape[0] * factor * (2 if factor >= 3 else 1))
        scaled = np.asarray(PIL.Image.fromarray(np.ascontiguousarray(crop)).resize((side, side)))
        assert len(Detector().detect(scaled)) == 1


def test_exif_rotation_is_honoured(detector, masked):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    lying = jpeg(np.ascontiguousarray(np.rot90(masked)), exif=exif)
    np.testing.assert_allclose(detector.detect(lying).xyxy[0], detector.detect(masked).xyxy[0], atol=6)


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 3000), (3000, 7), (64, 64), (65, 129)])
def test_odd_sizes_are_answered(detector, size_wh):
    width, height = size_wh
    assert isinstance(detector.detect(np.zeros((height, width, 3), np.uint8)), Detections)


def test_options_are_obeyed(astronaut):
    everything = Detector(options=DetectOptions(score_threshold=0.0, iou_threshold=1.0)).detect(astronaut)
    assert len(everything) > 100
    few = Detector(options=DetectOptions(score_threshold=0.0, iou_threshold=1.0, max_detections=5))
    assert len(few.detect(astronaut)) == 5
    strict = Detector(options=DetectOptions(score_threshold=1.0)).detect(astronaut)
    assert len(strict) == 0


def test_a_label_with_a_smaller_share_than_asked_for_is_uncertain(detector, astronaut):
    tiny = np.ascontiguousarray(astronaut[::10, ::10])  # a face of 10 px leaves doubt
    (scores,) = detector.detect(tiny)[:1].label_scores
    share = float(scores.max() / scores.sum())
    verdicts = [
        Detector(options=DetectOptions(certainty_threshold=asked)).detect(tiny).verdict_names[0]
        for asked in (share - 1e-3, share + 1e-3)
    ]
    assert verdicts == ["without_mask", "uncertain"]


def test_scores_fall_and_fit_their_labels(detector, astronaut, masked):
    found = Detector(options=DetectOptions(score_threshold=0.01)).detect(np.hstack([astronaut, masked]))
    assert (np.diff(found.score) <= 0).all()
    np.testing.assert_array_equal(found.label_scores.argmax(axis=1), found.label)
    np.testing.assert_array_equal(found.label_scores.max(axis=1), found.score)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score_threshold": 1.5}, "score_threshold must lie between 0 and 1"),
        ({"iou_threshold": -1}, "iou_threshold must lie"),
        ({"max_side": 3}, "max_side must be at least 32"),
        ({"threads": -1}, "threads must be at least 0"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        DetectOptions(**options)


def test_the_card_tells_what_the_model_is(detector):
    card = detector.card
    assert card.labels == ("with_mask", "without_mask", "mask_worn_incorrectly")
    assert card.parameters <= 1_000_000
    assert Detector("nano").card.parameters <= 100_000
    assert len(card.sha256) == 64
    assert card.size_multiple == 8
    assert "YuNet" in card.credits
    assert "MobileNetV2" in card.credits  # its second stage's


def test_files_that_are_no_models_are_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        Detector(tmp_path / "missing.onnx")
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"no model")
    with pytest.raises(ModelError, match="no ONNX model that can be loaded"):
        Detector(garbage)
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=9,
    )
    garbage.write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="no maskwatch model"):
        Detector(garbage)


def test_a_card_survives_its_metadata_and_says_when_it_does_not_fit(detector):
    card = detector.card
    metadata = card.to_metadata()
    again = type(card).from_metadata(metadata, "x", card.sha256)
    assert again == card
    with pytest.raises(ModelError, match="model format 99"):
        type(card).from_metadata({**metadata, "maskwatch.format": "99"}, "x")
    with pytest.raises(ModelError, match="damaged"):
        type(card).from_metadata({**metadata, "maskwatch.strides": "?"}, "x")
    other = dataclasses.replace(card, labels=("a", "b", "c")).to_metadata()
    with pytest.raises(ModelError, match="retrain"):
        type(card).from_metadata(other, "x")


def test_unreadable_pictures_raise_in_a_batch_too(detector, astronaut):
    with pytest.raises(ImageError, match="is empty"):
        detector.detect([astronaut, b""])


def test_devices_are_checked_before_the_model_is_loaded():
    with pytest.raises(OptionError, match="device 'tpu' is unknown; choose one of cpu, cuda"):
        DetectOptions(device="tpu")
    absent = next(name for name in ("directml", "coreml", "cuda", "openvino") if not _has(name))
    with pytest.raises(OptionError, match=f"device '{absent}': this onnxruntime does not bring it"):
        Detector(options=DetectOptions(device=absent))


def _has(device):
    import onnxruntime

    return DEVICES[device] in onnxruntime.get_available_providers()


def test_packaged_models_have_names():
    names = packaged_models()
    assert DEFAULT_MODEL in names
    for name in names:
        assert Detector(name).card.name == f"maskwatch-{name}"
    assert Detector().card == Detector(DEFAULT_MODEL).card
    with pytest.raises(ModelError, match=f"name one of .*{DEFAULT_MODEL}"):
        Detector("medium")

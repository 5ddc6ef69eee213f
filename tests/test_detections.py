import dataclasses
import json

import numpy as np
import pytest

from maskwatch import Detections, OptionError


@pytest.fixture
def three() -> Detections:
    return Detections(
        xyxy=np.array([[0, 0, 10, 20], [5, 5, 25, 45], [30, 30, 40, 40]]),
        score=np.array([0.9, 0.8, 0.4]),
        label=np.array([0, 1, 2]),
        verdict=np.array([0, 1, 3]),
    )


def test_missing_columns_are_filled(three):
    np.testing.assert_allclose(three.label_scores, np.diag([0.9, 0.8, 0.4]).astype(np.float32))
    assert (three.track_id == -1).all()
    plain = Detections(xyxy=three.xyxy, score=three.score, label=three.label)
    np.testing.assert_array_equal(plain.verdict, [0, 1, 2])


def test_arrays_are_read_only_copies(three):
    mine = np.zeros((1, 4), np.float32)
    detections = Detections(xyxy=mine, score=np.ones(1), label=np.zeros(1))
    mine += 7
    assert detections.xyxy.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        three.score[0] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": np.zeros(2)}, "score has shape"),
        ({"xyxy": np.zeros((3, 5))}, "xyxy has shape"),
        ({"label": np.array([0, 1, 3])}, "must be 0 to 2"),
        ({"label_scores": np.zeros((3, 2))}, "label_scores has shape"),
    ],
)
def test_shapes_and_labels_are_checked(three, change, words):
    with pytest.raises(OptionError, match=words):
        dataclasses.replace(three, **change)


def test_selecting_rows(three):
    assert three[three.score > 0.5].label_names == ["with_mask", "without_mask"]
    assert three[np.array([2, 0])].verdict_names == ["uncertain", "with_mask"]
    assert len(three[1:]) == 2
    assert [len(face) for face in three] == [1, 1, 1]
    assert three.is_uncertain.tolist() == [False, False, True]


def test_concatenate_and_equality(three):
    assert Detections.concatenate([three[:1], three[1:]]) == three
    assert Detections.concatenate([]) == Detections.empty()
    assert three[:2] != three
    assert three != "three"


def test_to_dicts_is_plain_json(three):
    rows = json.loads(json.dumps(three.to_dicts()))
    assert rows[1]["box"] == {"x1": 5.0, "y1": 5.0, "x2": 25.0, "y2": 45.0}
    assert rows[2]["label"] == "mask_worn_incorrectly"
    assert rows[2]["verdict"] == "uncertain"
    assert rows[0]["label_scores"]["with_mask"] == 0.9
    assert "track_id" not in rows[0]
    tracked = dataclasses.replace(three, track_id=np.array([4, 5, 6]))
    assert tracked.to_dicts()[2]["track_id"] == 6


def test_to_coco(three):
    rows = three.to_coco(7)
    assert rows[1] == {
        "image_id": 7,
        "category_id": 2,
        "bbox": [5.0, 5.0, 20.0, 40.0],
        "score": pytest.approx(0.8),
    }


def test_to_yolo(three):
    assert three.to_yolo((100, 50)).splitlines()[1] == "1 0.150000 0.500000 0.200000 0.800000"
    assert three[:1].to_yolo((100, 50), with_score=True).endswith(" 0.900000\n")
    assert Detections.empty().to_yolo((100, 50)) == ""


def test_to_supervision(three):
    supervision = pytest.importorskip("supervision")
    converted = three.to_supervision()
    assert isinstance(converted, supervision.Detections)
    np.testing.assert_array_equal(converted.xyxy, three.xyxy)
    assert converted.data["verdict"].tolist() == three.verdict_names
    assert converted.tracker_id is None
    assert len(Detections.empty().to_supervision()) == 0

import json
from pathlib import Path

import numpy as np
import pytest

from maskwatch import DatasetError, Detections
from maskwatch.datasets import LabelledImage
from maskwatch.training.corrections import corrected, read_corrections

CORRECTIONS = Path(__file__).parents[2] / "configs" / "corrections.json"


def labelled(boxes, labels, ignore):
    faces = Detections(xyxy=np.array(boxes, np.float32), score=np.ones(len(labels)), label=np.array(labels))
    return LabelledImage(Path("a.jpg"), (400, 300), faces, np.array(ignore))


def written(tmp_path, entries):
    path = tmp_path / "corrections.json"
    path.write_text(json.dumps({"a.jpg": entries}))
    return read_corrections(path)["a.jpg"]


def test_labels_are_mended_ignored_and_added(tmp_path):
    image = labelled(
        [(0, 0, 50, 60), (100, 100, 140, 150), (200, 0, 220, 20)], [0, 1, 0], [False, False, True]
    )
    entries = [
        {"bbox": [1, 0, 50, 60], "label": "mask_worn_incorrectly"},
        {"bbox": [100, 100, 40, 50], "label": "ignore"},
        {"bbox": [200, 0, 20, 20], "label": "without_mask"},
        {"bbox": [300, 200, 30, 40], "label": "with_mask"},
    ]
    mended, by_hand = corrected(image, written(tmp_path, entries))
    assert mended.faces.label.tolist() == [2, 1, 1, 0]
    assert mended.ignore.tolist() == [False, True, False, False]
    assert by_hand.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(mended.faces.xyxy[3], [300, 200, 330, 240])
    assert image.faces.label.tolist() == [0, 1, 0], "the argument stays as it was"


def test_a_box_can_be_moved(tmp_path):
    image = labelled([(0, 0, 100, 120)], [0], [False])
    entry = {"bbox": [0, 0, 100, 120], "label": "with_mask", "moved": [30, 40, 40, 50]}
    mended, by_hand = corrected(image, written(tmp_path, [entry]))
    np.testing.assert_array_equal(mended.faces.xyxy, [[30, 40, 70, 90]])
    assert by_hand.tolist() == [True]


def test_a_picture_without_faces_can_get_one(tmp_path):
    image = labelled(np.zeros((0, 4)), [], np.zeros(0, bool))
    mended, _ = corrected(image, written(tmp_path, [{"bbox": [1, 2, 30, 40], "label": "with_mask"}]))
    assert len(mended.faces) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"a": [{"bbox": [1, 2], "label": "ignore"}]}',
        '{"a": [{"bbox": [1,2,3,4], "label": "dog"}]}',
    ],
)
def test_what_is_no_correction_is_named(tmp_path, text):
    path = tmp_path / "corrections.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match="no file of corrections"):
        read_corrections(path)


def test_our_own_file_can_be_read():
    assert sum(len(entries) for entries in read_corrections(CORRECTIONS).values()) > 900

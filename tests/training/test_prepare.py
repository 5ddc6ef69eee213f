import numpy as np
import pytest

from maskwatch import Detections, ModelError, TrainingError
from maskwatch.datasets import LabelledImage, read_coco
from maskwatch.training.corrections import Correction
from maskwatch.training.prepare import FaceFinder, FoundFaces, find_all, prepare


def labelled(path, boxes, set_name=""):
    count = len(boxes)
    faces = Detections(xyxy=np.array(boxes, float).reshape(-1, 4), score=np.ones(count), label=np.ones(count))
    return LabelledImage(path, (400, 400), faces, np.zeros(count, bool), set_name)


def found(*boxes, score=0.9):
    points = np.arange(len(boxes) * 10, dtype=np.float32).reshape(-1, 5, 2)
    return FoundFaces(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32), points
    )


def test_landmarks_go_to_the_face_they_fit(tmp_path):
    image = labelled(tmp_path / "a.jpg", [(0, 0, 50, 50), (100, 100, 160, 160)])
    (ready,) = prepare([image], {"a.jpg": found((102, 98, 158, 161), (300, 300, 340, 340))})
    assert np.isnan(ready.landmarks[0]).all()
    np.testing.assert_array_equal(ready.landmarks[1], np.arange(10).reshape(5, 2))


def test_unlabelled_faces_are_ignored_if_sure(tmp_path):
    image = labelled(tmp_path / "a.jpg", [(0, 0, 50, 50)])
    for score, extra in ((0.9, 1), (0.7, 0)):
        (ready,) = prepare([image], {"a.jpg": found((300, 300, 340, 340), score=score)})
        assert ready.labelled.ignore.tolist() == [False] + [True] * extra
        assert len(ready.landmarks) == 1 + extra


def test_loose_boxes_become_tight_or_are_not_learnt(tmp_path):
    heads = [(0, 0, 100, 120), (200, 200, 300, 320)]
    image = labelled(tmp_path / "a.jpg", heads, "loose")
    face = (25, 40, 80, 105)
    (ready,) = prepare([image], {"a.jpg": found(face)}, loose_sets=["loose"])
    np.testing.assert_array_equal(ready.labelled.faces.xyxy, [face, heads[1]])
    assert ready.labelled.ignore.tolist() == [False, True]
    (as_tight,) = prepare([image], {"a.jpg": found(face)})
    np.testing.assert_array_equal(as_tight.labelled.faces.xyxy[0], heads[0])


def test_a_loose_box_can_be_learnt_in_part(tmp_path):
    image = labelled(tmp_path / "a.jpg", [[0, 0, 100, 120]], "loose")
    face = [30, 40, 80, 100]
    (ready,) = prepare([image], {"a.jpg": found(face)}, loose_sets=["loose"], loose_share=0.25)
    np.testing.assert_allclose(ready.labelled.faces.xyxy[0], [22.5, 30, 85, 105])


def test_a_box_set_by_hand_is_tight_in_a_loose_set(tmp_path):
    head, face = (200.0, 200.0, 300.0, 320.0), np.array([220, 230, 280, 310], np.float32)
    image = labelled(tmp_path / "a.jpg", [head], "loose")
    mended = {"a.jpg": [Correction(np.array(head, np.float32), 0, face)]}
    (ready,) = prepare([image], {}, corrections=mended, loose_sets=["loose"])
    np.testing.assert_array_equal(ready.labelled.faces.xyxy, [face])
    assert ready.labelled.ignore.tolist() == [False]
    assert ready.labelled.faces.label.tolist() == [0]


def test_yunet_finds_landmarks_and_the_cache_keeps_them(coco_folder, shared, landmarks, tmp_path):
    images = read_coco(coco_folder)
    finder = FaceFinder(shared / "peers" / "yunet_2023mar.onnx")
    cache = tmp_path / "found.json"
    first = find_all(images, finder, cache)
    assert len(first["empty.png"].xyxy) == 0
    np.testing.assert_allclose(first["1.png"].landmarks[0], landmarks - [10, 3], atol=6)
    again = find_all(images, None, cache)
    np.testing.assert_array_equal(again["1.png"].landmarks, first["1.png"].landmarks)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no\.onnx: cannot be read"):
        FaceFinder(tmp_path / "no.onnx")

    class Finder:
        def find(self, image_bgr):
            raise AssertionError

    with pytest.raises(TrainingError, match=r"a\.jpg: cannot be read"):
        find_all([labelled(tmp_path / "a.jpg", [])], Finder(), tmp_path / "c.json")

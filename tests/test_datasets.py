import json

import numpy as np
import pytest

from maskwatch import DatasetError
from maskwatch.datasets import label_index, of_sets, read_coco


def write(folder, **changes):
    content = {
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": 100, "height": 80, "set": "aizoo"},
            {"id": 6, "file_name": "b.jpg", "width": 50, "height": 50},
        ],
        "categories": [
            {"id": 1, "name": "Mask"},
            {"id": 2, "name": "no-mask"},
            {"id": 9, "name": "mask_weared_incorrect"},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 9, "bbox": [10, 20, 30, 40]},
            {"id": 2, "image_id": 5, "category_id": 2, "bbox": [0, 0, 7, 7]},
            {"id": 3, "image_id": 5, "category_id": 1, "bbox": [0, 0, 20, 20], "ignore": 1},
            {"id": 4, "image_id": 5, "category_id": 1, "bbox": [0, 0, 20, 20], "iscrowd": 1},
        ],
        **changes,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_a_folder_and_its_file_give_the_same(tmp_path):
    (tmp_path / "images").mkdir()
    path = write(tmp_path)
    for given in (tmp_path, path):
        first, second = read_coco(given)
        assert first.path == tmp_path / "images" / "a.jpg"
        assert first.size_wh == (100, 80)
        assert first.set_name == "aizoo"
        np.testing.assert_array_equal(first.faces.xyxy[0], [10, 20, 40, 60])
        assert first.faces.label.tolist() == [2, 1, 0, 0]
        assert first.ignore.tolist() == [False, True, True, True]
        assert len(second.faces) == 0


def test_pictures_beside_the_file_are_found_too(tmp_path):
    assert read_coco(write(tmp_path))[0].path == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    ("name", "label"), [("With Mask", 0), ("face_nomask", 1), ("Incorrect-Mask", 2), ("dog", None)]
)
def test_label_aliases(name, label):
    assert label_index(name) == label


def test_what_is_no_data_set_is_named(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        read_coco(tmp_path)
    path = write(tmp_path, categories=[{"id": 1, "name": "dog"}])
    with pytest.raises(DatasetError, match="unknown categories dog"):
        read_coco(path)
    for text in ("{", "[]", '{"images": 1}', '{"images": [], "annotations": [{}], "categories": []}'):
        path.write_text(text)
        with pytest.raises(DatasetError, match="no COCO annotation file"):
            read_coco(path)
    path.write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(DatasetError, match="no COCO annotation file"):
        read_coco(path)


def test_sets_are_chosen_by_name_and_a_wrong_one_is_named(tmp_path):
    images = read_coco(write(tmp_path))
    assert of_sets(images, None, "here") == images
    assert [image.set_name for image in of_sets(images, "aizoo", "here")] == ["aizoo"]
    assert len(of_sets(images, " aizoo,", "here")) == 2  # the second picture is of no set
    with pytest.raises(DatasetError, match=r"here: no set aizo; it has , aizoo.*aizoo"):
        of_sets(images, "aizo", "here")

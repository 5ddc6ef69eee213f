"""`maskwatch data`: labels of other tools in, class folders and COCO folders out."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from maskwatch.boxes import iou
from maskwatch.cli.app import app
from maskwatch.curation.convert import read_labels
from maskwatch.datasets import read_coco
from maskwatch.errors import DatasetError


def data(*arguments: object):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def voc(tmp_path, astronaut, masked):
    """Two pictures with Pascal VOC labels under foreign names."""
    folder = tmp_path / "voc"
    folder.mkdir()
    for name, image, label in (("a", astronaut, "face"), ("b", masked, "mask_weared_incorrect")):
        PIL.Image.fromarray(image).save(folder / f"{name}.png")
        box = "<xmin>178</xmin><ymin>63</ymin><xmax>268</xmax><ymax>176</ymax>"
        thing = f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
        (folder / f"{name}.xml").write_text(f"<annotation>{thing}</annotation>")
    return folder


def test_voc_becomes_coco(voc, tmp_path):
    done = data("convert", voc, "-o", tmp_path / "coco")
    assert done.exit_code == 0
    first, second = read_coco(tmp_path / "coco")
    assert first.faces.label_names == ["without_mask"]
    assert second.faces.label_names == ["mask_worn_incorrectly"]
    assert first.faces.xyxy[0].tolist() == [178, 63, 268, 176]


def test_yolo_is_read_with_its_names(tmp_path, astronaut):
    PIL.Image.fromarray(astronaut).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1 0.5 0.25 0.25 0.5\n")
    (tmp_path / "data.yaml").write_text("nc: 2\nnames: ['no-mask', 'mask']\n")
    (only,) = read_labels(tmp_path)
    assert only.faces.label_names == ["with_mask"]
    assert only.faces.xyxy[0].tolist() == [192, 0, 320, 256]


def test_unknown_labels_and_entities_are_refused(voc):
    with pytest.raises(DatasetError, match="'cat' means nothing here; say what: --label cat=with_mask"):
        (voc / "a.xml").write_text((voc / "a.xml").read_text().replace("face", "cat"))
        read_labels(voc)
    assert read_labels(voc, labels={"cat": "with_mask"})[0].faces.label_names == ["with_mask"]
    (voc / "a.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><annotation/>')
    with pytest.raises(DatasetError, match="DOCTYPE"):
        read_labels(voc)


def test_crops_check_and_synthesize(voc, tmp_path):
    assert data("crops", voc, "-o", tmp_path / "crops").exit_code == 0
    names = {path.parent.name for path in (tmp_path / "crops").rglob("*.jpg")}
    assert names == {"without_mask", "mask_worn_incorrectly"}
    figures = tmp_path / "r.json"
    assert data("check", voc, "--json", figures, "--sheet", tmp_path / "s.jpg").exit_code == 0
    assert json.loads(figures.read_text())["faces"]["without_mask"] == 1
    assert (tmp_path / "s.jpg").stat().st_size > 1000
    done = data("synthesize", voc / "a.png", "-o", tmp_path / "made", "--incorrect")
    assert done.exit_code == 0
    assert {path.parent.name for path in (tmp_path / "made").rglob("*.jpg")} == {
        "with_mask",
        "without_mask",
        "mask_worn_incorrectly",
    }


def test_class_folders_get_boxes(tmp_path, astronaut, masked, face_box):
    """One face a picture gets its folder's label; a picture of two, or of none, is left out."""
    source = tmp_path / "sorted"
    two = np.concatenate([astronaut, astronaut], axis=1)
    empty = np.full((200, 200, 3), 90, np.uint8)
    for name, image in (("with_mask/a", masked), ("without_mask/b", astronaut), ("without_mask/c", two)):
        path = source / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path)
    PIL.Image.fromarray(empty).save(source / "with_mask" / "d.png")
    done = data("label", source, "-o", tmp_path / "coco", "--set", "ours")
    assert done.exit_code == 0
    images = {image.path.name: image for image in read_coco(tmp_path / "coco")}
    assert sorted(images) == ["a.png", "b.png"]
    assert images["a.png"].faces.label_names == ["with_mask"]
    assert iou(images["b.png"].faces.xyxy, face_box)[0, 0] > 0.6
    assert images["b.png"].set_name == "ours"
    (source / "with_mask").rename(source / "cats")
    with pytest.raises(DatasetError, match="folder 'cats' means nothing here"):
        data("label", source, "-o", tmp_path / "other")

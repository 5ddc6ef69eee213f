"""Models are compared on the pictures kept out of training."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from maskwatch import boxes
from maskwatch.codec import read_picture
from maskwatch.datasets import read_coco
from maskwatch.detector import DetectOptions, Detector
from maskwatch.errors import DatasetError
from maskwatch.labels import WITHOUT_MASK
from maskwatch.training.dressing import behind, dressed, landmarks_of, with_dark_skin
from maskwatch.training.heldout import (
    Kept,
    as_they_are,
    behind_things,
    false_alarms,
    in_outfits,
    mirrored,
    mirrored_at_sizes,
    of_dark_skin,
)
from maskwatch.training.prepare import FoundFaces
from maskwatch.training.shifts import SHIFTS


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_faces_are_mirrored_with_their_picture(coco_folder, factor):
    image = read_coco(coco_folder)[0]
    pixels = read_picture(image.path).image
    truth, turned = mirrored(image, pixels, factor)
    assert turned.shape == (round(300 * factor), round(400 * factor), 3)
    assert truth.size_wh == (turned.shape[1], turned.shape[0])
    before, after = image.faces.xyxy[0], truth.faces.xyxy[0]
    np.testing.assert_allclose(
        after, np.array([400 - before[2], before[1], 400 - before[0], before[3]]) * factor
    )
    back, again = mirrored(truth, turned, 1.0)
    np.testing.assert_allclose(back.faces.xyxy, image.faces.xyxy * factor, rtol=1e-5)
    assert (again == turned[:, ::-1]).all()
    assert (image.faces.xyxy[0] == before).all()


@pytest.mark.parametrize("name", SHIFTS)
def test_faces_are_still_found_where_a_shift_moves_them(coco_folder, name):
    images = [image for image in read_coco(coco_folder) if len(image.faces)][:2]
    detector = Detector("small")
    for image in images:
        pixels = read_picture(image.path).image
        truth, changed = SHIFTS[name](image, pixels)
        assert changed.dtype == np.uint8
        assert truth.size_wh == (changed.shape[1], changed.shape[0])
        assert (changed.shape == pixels.shape and (changed == pixels).all()) == (name == "as it is")
        if name.startswith("turned"):
            assert changed.shape[:2] == pixels.shape[1::-1]
            pairs = zip(_within(image.faces.xyxy, pixels), _within(truth.faces.xyxy, changed), strict=True)
            assert all(np.abs(one - other).max() < 1 for one, other in pairs)
        else:
            assert boxes.iou(truth.faces.xyxy, detector.detect(changed).xyxy).max(axis=1).min() > 0.5


def _within(xyxy, pixels):
    """The mean colour in each box."""
    for left, top, right, bottom in xyxy.round().astype(int):
        yield pixels[top:bottom, left:right].mean(axis=(0, 1))


def test_a_good_detector_has_good_figures(coco_folder):
    images = [image for image in read_coco(coco_folder) if len(image.faces)]
    detector = Detector("nano", DetectOptions(score_threshold=0.001))
    kept = Kept.of(images)
    figures = as_they_are(detector, kept), mirrored_at_sizes(detector, kept)
    assert all(each.face_ap > 0.95 and each.map_two > 0.9 for each in figures)


class KnowingFinder:
    """Finds the astronaut's face by its label in the COCO folder, in YuNet's place."""

    def __init__(self, images, landmarks, face_box):
        self.faces = iter(
            [(image.faces.xyxy, landmarks + image.faces.xyxy[0, :2] - face_box[0, :2]) for image in images]
        )

    def find(self, image_bgr):
        xyxy, landmarks = next(self.faces)
        return FoundFaces(xyxy, np.array([0.9], np.float32), landmarks[None].astype(np.float32))


def test_faces_in_outfits(coco_folder, landmarks, face_box):
    images = [image for image in read_coco(coco_folder) if len(image.faces)][:3]
    known = landmarks_of(images, KnowingFinder(images, landmarks, face_box))
    for image, points in zip(images, known, strict=True):
        pixels = read_picture(image.path).image
        np.testing.assert_array_equal(
            dressed(pixels, image.faces.xyxy, points, (), np.random.default_rng(0)), pixels
        )
        worn = dressed(pixels, image.faces.xyxy, points, ("helmet", "goggles"), np.random.default_rng(0))
        two = np.concatenate([image.faces.xyxy, image.faces.xyxy + np.array([100, 0, 100, 0])]).astype(
            np.float32
        )
        twice = np.concatenate([points, np.full_like(points, np.nan)])
        near = dressed(pixels, two, twice, ("helmet", "goggles"), np.random.default_rng(0))
        above = np.s_[: int(image.faces.xyxy[0, 1])]
        assert (worn[above] != pixels[above]).any()
        assert (near[above] == pixels[above]).all()
        assert (near != pixels).any()


def test_figures_in_outfits(coco_folder, landmarks, face_box):
    images = [image for image in read_coco(coco_folder) if len(image.faces)][:3]
    detector = Detector("nano", DetectOptions(score_threshold=0.001))
    known = landmarks_of(images, KnowingFinder(images, landmarks, face_box))
    figures = in_outfits(detector, Kept.of(images), known)
    assert 0.5 < figures.face_ap <= 1


def test_figures_of_bare_faces_behind_things(coco_folder, landmarks, face_box):
    images = [image for image in read_coco(coco_folder) if len(image.faces)][:3]
    detector = Detector("nano", DetectOptions(score_threshold=0.001))
    known = landmarks_of(images, KnowingFinder(images, landmarks, face_box))
    kept = Kept.of(images)
    for image, pixels, hidden in zip(
        images, kept.pictures, behind(images, kept.pictures, known, "card"), strict=True
    ):
        assert (hidden != pixels).any() == (image.faces.label == WITHOUT_MASK).any()
    assert {int(image.faces.label[0]) for image in images} > {WITHOUT_MASK}
    assert 0.5 < behind_things(detector, kept, known).face_ap <= 1


def test_figures_with_dark_skin(coco_folder, landmarks, face_box):
    images = [image for image in read_coco(coco_folder) if len(image.faces)][:3]
    detector = Detector("nano", DetectOptions(score_threshold=0.001))
    known = landmarks_of(images, KnowingFinder(images, landmarks, face_box))
    kept = Kept.of(images)
    changed = with_dark_skin(images, kept.pictures, known)
    assert all(dark.mean() < light.mean() for dark, light in zip(changed, kept.pictures, strict=True))
    assert 0.5 < of_dark_skin(detector, kept, known).face_ap <= 1


def test_false_alarms_are_counted_where_no_face_is(coco_folder, tmp_path):
    folder = shutil.copytree(coco_folder, tmp_path / "coco")
    content = json.loads((folder / "annotations.json").read_text())
    faces = {annotation["image_id"] for annotation in content["annotations"]}
    content["annotations"] = []
    (folder / "annotations.json").write_text(json.dumps(content))
    detector = Detector("nano", DetectOptions(score_threshold=0.001))
    assert false_alarms(detector, folder) == pytest.approx(100 * len(faces) / len(content["images"]))
    with pytest.raises(DatasetError, match="no picture is labelled to be without faces"):
        false_alarms(detector, _all_with_faces(folder, content))


def _all_with_faces(folder, content):
    content["annotations"] = [
        {"id": image["id"], "image_id": image["id"], "category_id": 1, "bbox": [1, 1, 20, 20]}
        for image in content["images"]
    ]
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def test_the_command(coco_folder, tmp_path):
    folder = shutil.copytree(coco_folder, tmp_path / "coco")

    def said(**recipe):
        (tmp_path / "recipe.json").write_text(json.dumps(recipe))
        command = [sys.executable, "-m", "maskwatch.training.heldout", folder, "nano"]
        command += ["--recipe", tmp_path / "recipe.json"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = said(holdout_share=1.0)
    assert done.returncode == 0, done.stderr
    as_is, turned, shifted = done.stdout.splitlines()
    figures = r"mAP (0\.9|1\.0)\d+, face AP (0\.9|1\.0)\d+ \(with_mask .*, mask_worn_incorrectly .*\)"
    assert re.fullmatch("nano: 7 pictures as they are: " + figures, as_is)
    assert re.fullmatch("nano: mirrored, three sizes: " + figures, turned)
    figures = r"mAP \d\.\d+, face AP \d\.\d+ \(with_mask .*, mask_worn_incorrectly .*\)"
    assert re.fullmatch("nano: shifted, 16 ways: " + figures, shifted)
    annotations = json.loads((folder / "annotations.json").read_text())
    annotations["images"][0]["set"] = "heads"
    (folder / "annotations.json").write_text(json.dumps(annotations))
    done = said(holdout_share=1.0, loose_sets=["heads"])
    as_is, *_, loose = done.stdout.splitlines()
    assert as_is.startswith("nano: 6 pictures as they are")
    assert re.fullmatch("nano: 1 of loose sets, mirrored, three sizes: " + figures, loose)
    done = said(holdout_share=0.0)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no pictures were kept out" in done.stderr

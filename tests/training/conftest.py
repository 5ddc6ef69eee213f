"""A tiny labelled data set: crops of the astronaut, bare and masked, as a COCO folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from maskwatch.datasets import read_coco
from maskwatch.synthesis import draw_mask
from maskwatch.training.config import NetworkConfig, TrainConfig
from maskwatch.training.prepare import FoundFaces, prepare


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory, astronaut, landmarks, face_box) -> Path:
    """Six pictures of one face each, shifted and in three labels, and one picture without a face."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images").mkdir()
    images, annotations = [], []
    for number in range(6):
        wear = ("over_nose", None, "under_nose")[number % 3]
        drawn = astronaut if wear is None else draw_mask(astronaut, landmarks, wear=wear)
        left, top = 10 * number, 3 * number
        crop = drawn[top : top + 300, left : left + 400]
        name = f"{number}.png"
        PIL.Image.fromarray(np.ascontiguousarray(crop)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": 400, "height": 300, "set": "ours"})
        x1, y1, x2, y2 = (face_box[0] - [left, top, left, top]).tolist()
        category = {"over_nose": 1, None: 2, "under_nose": 3}[wear]
        box = [x1, y1, x2 - x1, y2 - y1]
        annotations.append({"id": number, "image_id": number, "category_id": category, "bbox": box})
    PIL.Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / "images" / "empty.png")
    images.append({"id": 99, "file_name": "empty.png", "width": 200, "height": 200})
    names = ("with_mask", "without_mask", "mask_worn_incorrectly")
    categories = [{"id": index, "name": name} for index, name in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def training_images(coco_folder, landmarks):
    """The data set prepared, with true landmarks."""
    found = {}
    for number in range(6):
        shift = np.array([10 * number, 3 * number], np.float32)
        face = np.array([[178.2, 62.9, 268.1, 176.2]], np.float32) - np.tile(shift, 2)
        found[f"{number}.png"] = FoundFaces(face, np.array([0.9], np.float32), (landmarks - shift)[None])
    return prepare(read_coco(coco_folder), found)


@pytest.fixture
def tiny_config() -> TrainConfig:
    """Small pictures, few steps, one process."""
    return TrainConfig(
        network=NetworkConfig(context_blocks=(0, 1, 0), label_blocks=0),
        steps=4,
        sides=(64, 128),
        side_shares=(1, 1),
        pixels_per_step=2 * 64 * 64,
        warmup_steps=2,
        evaluate_every_steps=100,
        holdout_share=0.3,
        workers=0,
    )

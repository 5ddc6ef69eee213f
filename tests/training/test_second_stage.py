"""The second stage: its crops, what the model makes of both stages, and its training."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from maskwatch import Detector, TrainingError
from maskwatch.boxes import iou, size, to_xywh
from maskwatch.training import refine
from maskwatch.training.calibration import Calibration, Pool
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import NetworkConfig, TrainConfig
from maskwatch.training.crops import SAME_FACE_IOU, UNCLEAR, CropBatches, Cropper, by_chance
from maskwatch.training.export import build
from maskwatch.training.losses import eiou
from maskwatch.training.mix import mix
from maskwatch.training.network import MaskNet
from maskwatch.training.pictures import PictureCache
from maskwatch.training.refine import UNIT_BOX, train_refiner
from maskwatch.training.refiner import CROP_SHARE, CROP_SIDE, MENDED_PX, NEAR_CROP_PX, NO_FACE, mended
from maskwatch.training.samples import SampleMaker
from maskwatch.training.warm_start import load_mobilenet

LAYOUT = NetworkConfig(
    context_blocks=(0, 0, 0),
    label_blocks=0,
    refiner_blocks=5,
    refiner_features=32,
    refiner_box_features=8,
)
IOU_THRESHOLD = 0.1


def reference_crop(image, box, side=CROP_SIDE):
    """The enlarged box, black outside: (side, side, 3). One bilinear sample in the middle of each cell; of a
    near face four, in the picture at a quarter of its sides.
    """
    box = np.array(box, np.float64)
    if size(box[None])[0] < NEAR_CROP_PX:
        return sampled(image, box, side)
    height, width = (length // 4 * 4 for length in image.shape[:2])
    quarter = image[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3))
    fine = sampled(quarter, box / 4, 2 * side)
    return fine.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))


def sampled(image, box, side):
    """One bilinear sample in the middle of each cell of the enlarged box."""
    axes = []
    for axis in (1, 0):  # y, then x
        middle, half = (box[axis] + box[axis + 2]) / 2, (box[axis + 2] - box[axis]) / 2 * CROP_SHARE
        axes.append(middle - half + (np.arange(side) + 0.5) * 2 * half / side - 0.5)
    y, x = np.meshgrid(*axes, indexing="ij")
    height, width = image.shape[:2]
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    padded = np.pad(image.astype(np.float64), ((0, 1), (0, 1), (0, 0)), mode="edge")
    down, right = (y - top)[..., None], (x - left)[..., None]
    upper = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    lower = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down) * inside[..., None]


@pytest.mark.parametrize(
    "box",
    [[200, 100, 221, 128], [3, 400, 11, 410], [-5, -8, 15, 17], [180, 60, 240, 120], [180, 60, 318, 226]],
)
def test_crops_hold_the_face_and_what_is_around_it(astronaut, box):
    """Across the border, too."""
    cut = Cropper().cut(astronaut, np.array([[100, 100, 300, 300], box, [10, 10, 30, 30]], np.float32))
    assert cut.shape == (3, 3, CROP_SIDE, CROP_SIDE)
    expected = reference_crop(astronaut, box)
    np.testing.assert_allclose(cut[1].transpose(1, 2, 0), expected, atol=0.6)


@pytest.fixture(scope="module")
def two_stages(astronaut):
    """A network with random weights whose second stage is of many minds about parts of the astronaut."""
    torch.manual_seed(3)
    network = MaskNet(LAYOUT).eval()
    for head in (*network.heads, network.slim_head):
        head.box.depthwise.bias.data[4:].fill_(0.5)
        head.label.depthwise.bias.data.fill_(0.5)
    network.heads[-1].box.depthwise.bias.data[2:4] += 1.0
    corner = np.random.default_rng(0).uniform(0, 400, (64, 2)).astype(np.float32)
    crops = torch.from_numpy(Cropper().cut(astronaut, np.concatenate([corner, corner + 20], axis=1))).float()
    refiner = network.refiner
    with torch.no_grad():
        for _ in range(30):
            refiner.train()(crops)
        refiner.eval()
        refiner.classes.bias.zero_()
        refiner.classes.weight.div_(refiner(crops).logits.std(dim=0)[:, None] / 3)
        refiner.classes.bias.sub_(refiner(crops).logits.mean(dim=0))
        refiner.box.last.weight.normal_(std=1e-3)
        refiner.box.last.weight.div_(refiner(crops).moves.std() / 0.3)
    return network


CALIBRATION = Calibration(
    pool=Pool(face_detector=0.8, face_refiner=0.6, face_shift=0.2, label_detector=0.7, label_refiner=0.4)
)


def run_graph(network, images, score_threshold, calibration=CALIBRATION):
    session = onnxruntime.InferenceSession(build(network, calibration).SerializeToString())
    limits = np.array([score_threshold], np.float32), np.array([IOU_THRESHOLD], np.float32), np.array([200])
    names = ("images", "score_threshold", "iou_threshold", "max_detections")
    return session.run(None, dict(zip(names, (images, *limits), strict=True)))


def test_the_model_judges_faces_twice(two_stages, astronaut):
    """As PyTorch does on crops cut by hand; each picture of a batch gets its own crops.

    Where boxes are moved upon each other, the likelier face is left.
    """
    images = np.stack([astronaut, astronaut[::-1]])
    threshold = 0.6
    picture, xyxy, scores = run_graph(two_stages.first_stage(), images, 0.3, Calibration())
    near = size(xyxy) >= NEAR_CROP_PX
    assert 3 < near.sum() < len(near) - 10
    crops = np.stack([reference_crop(images[p], box) for p, box in zip(picture, xyxy, strict=True)])
    with torch.no_grad():
        judged = two_stages.refiner(torch.from_numpy(crops.transpose(0, 3, 1, 2)).float())
        assert judged.moves.std() > 0.05
        at = mended(torch.from_numpy(xyxy), judged.moves).numpy()
    stay = np.isclose(at, xyxy).all(axis=1)
    assert stay[size(xyxy) >= MENDED_PX[1]].all()
    assert 3 < stay.sum() < len(stay) - 3
    expected = CALIBRATION.pool.apply(scores, judged.logits.numpy())
    likely = expected.max(axis=1) > threshold
    assert 3 < likely.sum() < len(likely) - 3

    found_picture, found_xyxy, found_scores = run_graph(two_stages, images, threshold)
    assert 3 < len(found_picture) < likely.sum()
    for number in (0, 1):
        mine = np.flatnonzero(likely & (picture == number))
        best = expected[mine].max(axis=1)
        left = cv2.dnn.NMSBoxes(to_xywh(at[mine]).tolist(), best.tolist(), threshold, IOU_THRESHOLD)
        rows, wanted = np.flatnonzero(found_picture == number), mine[np.array(left)]
        assert len(rows) == len(wanted)
        pairs = iou(found_xyxy[rows], at[wanted]).argmax(axis=0)
        np.testing.assert_allclose(found_xyxy[rows][pairs], at[wanted], atol=0.02)
        np.testing.assert_allclose(found_scores[rows][pairs], expected[wanted], atol=5e-3)


def test_a_picture_without_faces_is_no_trouble(two_stages):
    assert [len(x) for x in run_graph(two_stages, np.zeros((2, 64, 96, 3), np.uint8), 0.999)] == [0, 0, 0]


@pytest.fixture
def refiner_config(tiny_config):
    network = dataclasses.replace(
        tiny_config.network, refiner_blocks=4, refiner_features=16, refiner_box_features=8
    )
    return dataclasses.replace(
        tiny_config, network=network, steps=3, crops_per_step=8, checkpoint_every_s=0.0, warmup_steps=1
    )


def maker(images, config):
    return SampleMaker(images, config, PictureCache(2**28))


def test_crops_are_of_faces_with_their_labels_and_of_other_things(training_images, refiner_config):
    """The packaged model finds the astronaut's faces; what it takes for some elsewhere is `NO_FACE`."""
    augment = dataclasses.replace(refiner_config.augment, drawn_mask_share=0.0, masked_crowd_share=0.0)
    config = dataclasses.replace(refiner_config, augment=augment, sides=(64,), side_shares=(1,))
    batches = iter(CropBatches(maker(training_images, config), config, "small", seed=1))
    drawn = [next(batches) for _ in range(24)]
    target = torch.cat([batch.target for batch in drawn])
    assert all(batch.crops.shape == (8, 3, CROP_SIDE, CROP_SIDE) for batch in drawn)
    assert set(target.tolist()) == {0, 1, 2, NO_FACE, UNCLEAR}
    face = torch.cat([batch.face for batch in drawn])
    overlap = eiou(UNIT_BOX.expand(len(face), 4), face)[0]
    assert overlap[(target >= 0) & (target != NO_FACE)].min() >= SAME_FACE_IOU
    assert face[target == NO_FACE].isnan().all()
    assert (overlap[target == UNCLEAR] < SAME_FACE_IOU).all()
    again = next(iter(CropBatches(maker(training_images, config), config, "small", seed=1)))
    assert torch.equal(again.crops, drawn[0].crops)


def test_training_changes_the_second_stage_alone(training_images, refiner_config, tmp_path):
    torch.manual_seed(0)
    network = MaskNet(refiner_config.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = train_refiner(refiner_config, maker(training_images, refiner_config), tmp_path, network)
    for name, value in trained.state_dict().items():
        changed = not torch.equal(value, before[name])
        if value.is_floating_point():
            assert changed == name.startswith("refiner."), name
    assert Checkpoint.load(tmp_path / "last.pt").step == 3


def test_training_goes_on_where_it_stopped(training_images, refiner_config, tmp_path):
    for steps in (2, 4):
        config = dataclasses.replace(refiner_config, steps=steps)
        train_refiner(config, maker(training_images, config), tmp_path, MaskNet(config.network))
    assert Checkpoint.load(tmp_path / "last.pt").optimizer["state"][0]["step"] == 4


def test_an_interrupted_training_keeps_what_it_learnt(training_images, refiner_config, tmp_path, monkeypatch):
    monkeypatch.setattr(refine, "LOG_EVERY_STEPS", 2)

    def interrupt(words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_refiner(
            refiner_config,
            maker(training_images, refiner_config),
            tmp_path,
            MaskNet(refiner_config.network),
            interrupt,
        )
    assert Checkpoint.load(tmp_path / "last.pt").step == 2


def test_a_detector_of_one_stage_has_nothing_to_refine(training_images, tiny_config, tmp_path):
    with pytest.raises(TrainingError, match=r"set network\.refiner_blocks"):
        train_refiner(
            tiny_config, maker(training_images, tiny_config), tmp_path, MaskNet(tiny_config.network)
        )


def test_a_mix_keeps_the_second_stage_of_those_that_have_one(tmp_path, two_stages):
    """One detector has two stages, the other one: the mean of the first stages, and the second as it is."""
    alone = MaskNet(dataclasses.replace(LAYOUT, refiner_blocks=0)).eval()
    for name, network in (("two", two_stages), ("one", alone)):
        Checkpoint(TrainConfig(network=network.config), 1, network.state_dict()).save(tmp_path / f"{name}.pt")
    refined = mix({tmp_path / "one.pt": 1.0, tmp_path / "two.pt": 1.0})
    assert refined.config.network == LAYOUT
    for name, value in two_stages.refiner.state_dict().items():
        torch.testing.assert_close(refined.average[f"refiner.{name}"], value)


def test_the_command_refines_a_detector(coco_folder, refiner_config, tmp_path):
    recipe = {
        **json.loads(refiner_config.to_json()),
        "network": {"refiner_blocks": 4, "refiner_features": 16, "refiner_box_features": 8},
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))  # the detector's layout is its checkpoint's
    first = dataclasses.replace(refiner_config.network, refiner_blocks=0)
    config = dataclasses.replace(refiner_config, network=first)
    Checkpoint(config, 5, MaskNet(first).state_dict()).save(tmp_path / "first.pt")
    command = [sys.executable, "-m", "maskwatch.training.refine", coco_folder, "-o", tmp_path / "out"]
    command += ["--recipe", tmp_path / "recipe.json", "--version", "7"]
    init = ["--init", tmp_path / "first.pt"]
    done = subprocess.run([*command, *init], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    card = Detector(tmp_path / "out" / "model.onnx").card
    assert card.version == "7"
    assert card.parameters == MaskNet(refiner_config.network).parameter_count()
    missing = ["--init", tmp_path / "missing.pt"]
    done = subprocess.run([*command, *missing], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_what_a_deeper_second_stage_has_not_learnt_is_imagenets(shared, two_stages, tmp_path):
    layout = dataclasses.replace(LAYOUT, refiner_blocks=7)
    config = TrainConfig(network=layout)
    Checkpoint(TrainConfig(network=LAYOUT), 1, two_stages.state_dict()).save(tmp_path / "five.pt")
    weights = shared / "weights" / "mobilenet_v2_1.0_224_imagenet_notop.weights.h5"
    deeper = refine.started(config, tmp_path / "five.pt", weights).refiner
    imagenet = MaskNet(layout).refiner
    load_mobilenet(imagenet, weights)
    for block in range(7):
        source = two_stages.refiner if block < 5 else imagenet
        for one, other in zip(
            deeper.stages[block].parameters(), source.stages[block].parameters(), strict=True
        ):
            torch.testing.assert_close(one, other)


def test_sure_mistakes_are_shown_oftener():
    score = np.array([0.01] * 9 + [0.89], np.float32)
    rng = np.random.default_rng(3)
    first = [by_chance(score, rng)[0] for _ in range(400)]
    assert np.mean(np.array(first) == 9) == pytest.approx(0.9 / (0.9 + 9 * 0.02), abs=0.06)
    assert sorted(by_chance(score, rng)) == list(range(10))

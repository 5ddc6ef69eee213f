"""The packaged models are those of the checkpoints beside them, so training can go on from what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from maskwatch.detector import DetectOptions, Detector, packaged_models
from maskwatch.training.calibration import Calibration
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.export import build
from maskwatch.training.network import decode, priors, roomier

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"


@pytest.mark.parametrize("name", sorted(packaged_models()))
def test_a_checkpoint_answers_as_the_packaged_model_does(name, astronaut):
    network = Checkpoint.load(CHECKPOINTS / f"maskwatch-{name}.pt").averaged()
    found = Detector(name, DetectOptions(score_threshold=0.05, iou_threshold=1.0)).detect(astronaut)
    assert len(found) > 3  # nothing is suppressed: one face, many cells

    picture = torch.from_numpy(astronaut[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        outputs = network(picture)
    boxes = decode(outputs.boxes[0], priors(*astronaut.shape[:2], network.config.strides))
    boxes = roomier(boxes, network.config.near_margin).numpy()
    scores = (outputs.objectness.sigmoid()[0, :, None] * outputs.labels.sigmoid()[0]).sqrt().numpy()
    for xyxy, label_scores in zip(found.xyxy, found.label_scores, strict=True):
        nearest = int(np.abs(boxes - xyxy).sum(axis=1).argmin())
        np.testing.assert_allclose(boxes[nearest].clip(0, 512), xyxy, atol=0.05)
        if network.refiner is None:
            assert scores[nearest].argmax() == label_scores.argmax()  # calibration keeps the order
    assert len({int(np.abs(boxes - xyxy).sum(axis=1).argmin()) for xyxy in found.xyxy}) == len(found)


@pytest.mark.parametrize("name", sorted(packaged_models()))
def test_the_packaged_weights_are_the_checkpoints(name):
    """Those of a second stage, too, whose answers the checkpoint alone, without calibration, cannot give."""
    network = Checkpoint.load(CHECKPOINTS / f"maskwatch-{name}.pt").averaged()
    exported = weights(build(network, Calibration()))
    packaged = weights(onnx.load_model_from_string(packaged_models()[name].read_bytes()))
    assert len(exported) > 50
    for ours, theirs in zip(exported, packaged, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def weights(model):
    """All arrays of the graph that are larger than its constants, in the order in which they are used."""
    arrays = (onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    return [array for array in arrays if array.size > 32]

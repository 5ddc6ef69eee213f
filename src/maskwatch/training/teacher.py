"""A larger network that a smaller one imitates, and what it says at the smaller one's strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from maskwatch.errors import TrainingError
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.network import MaskNet, Outputs


def teacher_of(path: Path, strides: tuple[int, ...]) -> MaskNet:
    """The averaged network of one of our checkpoints, a teacher at `strides`; it may have finer ones, too.

    Raises:
        TrainingError: it is none, or the network lacks one of the strides.
    """
    network = Checkpoint.load(path).averaged().first_stage()
    if network.config.strides[-len(strides) :] != strides:
        raise TrainingError(f"{path}: strides {network.config.strides}, but the student has {strides}")
    return network


def at_strides(
    outputs: Outputs, side_hw: tuple[int, int], own: Sequence[int], wanted: Sequence[int]
) -> Outputs:
    """Outputs at the strides `own` as a network of the coarser strides `wanted` would give them.

    What a finer level sees, which one of `wanted` has to see for it, goes to the finest of these: each of its
    cells takes the most likely of itself and those in it.
    """
    height, width = side_hw
    at, levels = 0, []
    for stride in own:
        count = -(-height // stride) * -(-width // stride)
        levels.append(Outputs(*(each[:, at : at + count] for each in outputs)))
        at += count
    finer = [stride for stride in own if stride not in wanted]
    for index, stride in enumerate(finer):
        levels[index + 1] = _folded(levels[index], levels[index + 1], width // stride)
    return Outputs(*(torch.cat(each, dim=1) for each in zip(*levels[len(finer) :], strict=True)))


def _folded(fine: Outputs, coarse: Outputs, width: int) -> Outputs:
    """`coarse`, its cells replaced where one of the four cells of `fine` in them is more likely a face."""
    pictures = len(fine.objectness)
    fours = []
    for each in fine:
        grid = each.reshape(pictures, -1, 2, width // 2, 2, *each.shape[2:]).movedim(2, 3)
        fours.append(grid.reshape(pictures, -1, 4, *each.shape[2:]))
    boxes, objectness, labels = fours
    corner = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]], device=boxes.device)
    boxes = torch.cat([boxes[..., :2] / 2 + corner, boxes[..., 2:] - math.log(2)], dim=-1)
    boxes = torch.cat([coarse.boxes[:, :, None], boxes], dim=2)
    labels = torch.cat([coarse.labels[:, :, None], labels], dim=2)
    objectness = torch.cat([coarse.objectness[:, :, None], objectness], dim=2)
    best = objectness.argmax(dim=2, keepdim=True)
    take = [each.take_along_dim(best[..., None], dim=2)[:, :, 0] for each in (boxes, labels)]
    return Outputs(take[0], objectness.amax(dim=2), take[1])

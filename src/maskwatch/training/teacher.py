"""Networks that another one imitates, and what they say together at its strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from maskwatch.errors import TrainingError
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.network import MaskNet, Outputs, outputs_of

_LEAST_CHANCE = 1e-6


def teacher_of(path: Path, strides: tuple[int, ...]) -> MaskNet:
    """The averaged network of one of our checkpoints, a teacher at `strides`; it may have finer ones, too.

    Raises:
        TrainingError: it is none, or the network lacks one of the strides.
    """
    network = Checkpoint.load(path).averaged().first_stage()
    if network.config.strides[-len(strides) :] != strides:
        raise TrainingError(f"{path}: strides {network.config.strides}, but the student has {strides}")
    return network


def taught(teachers: Sequence[MaskNet], images: Tensor, strides: Sequence[int]) -> Outputs | None:
    """What `teachers` say together of BGR `images` (B, 3, h, w) in 0..255; None where there are none."""
    if not teachers:
        return None
    with torch.no_grad():
        return agreed([at_strides(teacher.levels(images), strides) for teacher in teachers])


def agreed(answers: Sequence[Outputs]) -> Outputs:
    """The mean chance of a face; boxes and labels weighed by how sure each network is of one in the cell."""
    if len(answers) == 1:
        return answers[0]
    sure = torch.stack([each.objectness for each in answers]).sigmoid()
    share = (sure / sure.sum(dim=0))[..., None]
    boxes = (torch.stack([each.boxes for each in answers]) * share).sum(dim=0)
    labels = (torch.stack([each.labels for each in answers]).sigmoid() * share).sum(dim=0)
    return Outputs(boxes, torch.logit(sure.mean(dim=0), _LEAST_CHANCE), torch.logit(labels, _LEAST_CHANCE))


def at_strides(levels: Sequence[Tensor], strides: Sequence[int]) -> Outputs:
    """`MaskNet.levels` as a network of `strides`, the coarsest of theirs, would give them.

    What a finer level sees, which one of `strides` has to see for it, goes to the finest of these: each of
    its cells takes the most likely of itself and those in it.
    """
    told = [level.float() for level in levels]
    while len(told) > len(strides):
        fine, coarse, *others = told
        told = [_folded(fine, coarse), *others]
    return outputs_of(told)


def _folded(fine: Tensor, coarse: Tensor) -> Tensor:
    """`coarse` (B, 8, h, w), a cell replaced where one of the four of `fine` in it is more likely a face."""
    pictures, channels, height, width = coarse.shape
    fours = functional.pixel_unshuffle(fine, 2).reshape(pictures, channels, 4, height, width)
    corner = torch.tensor([[0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5]], device=fine.device)[..., None, None]
    moved = [fours[:, :2] / 2 + corner, fours[:, 2:4] - math.log(2), fours[:, 4:]]
    five = torch.cat([coarse[:, :, None], torch.cat(moved, dim=1)], dim=2)
    best = five[:, 4:5].argmax(dim=2, keepdim=True)
    return five.take_along_dim(best, dim=2).squeeze(2)

"""What a batch costs: EIoU for boxes, objectness, and labels weighed by the box's quality."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from maskwatch.training.assign import assign
from maskwatch.training.config import ObjectnessLoss, TrainConfig
from maskwatch.training.network import Outputs, decode
from maskwatch.training.samples import Batch

SMOOTH_BELOW = 0.1
"""1 − IoU under which the box loss is quadratic."""


LEAST_TEACHER_SCORE = 0.1
"""A teacher's box is learnt from this score on."""


class Losses(NamedTuple):
    """Means over the positive priors of one batch; `total` is what is minimised."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    label: Tensor
    teacher: Tensor
    positives: int


def detection_loss(
    outputs: Outputs, batch: Batch, prior: Tensor, config: TrainConfig, teacher: Outputs | None = None
) -> Losses:
    """Loss of the raw outputs for one batch at priors (P, 3); a teacher's outputs count beside the labels."""
    found = assign(outputs, batch, prior, config.assigner)
    positives = max(1, len(found.face))
    predicted = decode(outputs.boxes[found.picture, found.prior], prior[found.prior])
    overlap, distance = eiou(predicted, batch.xyxy[found.face])
    box = distance.sum() / positives

    quality = overlap.detach().clamp(0, 1)
    wanted = torch.zeros_like(outputs.objectness)
    wanted[found.picture, found.prior] = 1.0 if config.objectness_loss == "cross_entropy" else quality
    objectness = objectness_loss(outputs.objectness, wanted, config.objectness_loss)
    objectness = (objectness * found.counted).sum() / positives

    logits = outputs.labels[found.picture, found.prior]
    truth = functional.one_hot(batch.label[found.face], logits.shape[-1]).to(logits.dtype)
    label = functional.binary_cross_entropy_with_logits(logits, truth * quality[:, None], reduction="none")
    label = label.sum() / positives
    total = (
        config.box_loss_weight * box
        + config.objectness_loss_weight * objectness
        + config.label_loss_weight * label
    )
    distance_to_teacher = torch.zeros_like(total)
    if teacher is not None:
        distance_to_teacher = teacher_loss(outputs, teacher, prior, config)
        total = total + config.teacher_loss_weight * distance_to_teacher
    return Losses(
        total,
        box.detach(),
        objectness.detach(),
        label.detach(),
        distance_to_teacher.detach(),
        len(found.face),
    )


def objectness_loss(logits: Tensor, wanted: Tensor, kind: ObjectnessLoss) -> Tensor:
    """Each cell's loss for a wanted objectness of 0 or, where a face is learnt, up to 1.

    Focal losses weigh a cell by how wrong it is (quality: |p − q|², Li et al. 2020), or a face's cell by
    its quality and others by 0.75·p² (varifocal, Zhang et al. 2021).
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if kind == "cross_entropy":
        return entropy
    chance = logits.sigmoid()
    if kind == "quality_focal":
        return entropy * (chance - wanted) ** 2
    return entropy * torch.where(wanted > 0, wanted, 0.75 * chance.detach() ** 2)


def teacher_loss(outputs: Outputs, teacher: Outputs, prior: Tensor, config: TrainConfig) -> Tensor:
    """How far the outputs are from a teacher's at the same priors, where the teacher sees faces.

    Hinton, Vinyals, Dean 2015, for dense outputs: divergence of objectness everywhere and of labels
    by the teacher's objectness, and the box loss against the teacher's boxes, all by the sum of
    its scores, which stands for the number of positive priors.
    """
    sure = teacher.objectness.sigmoid()
    score = (sure * teacher.labels.sigmoid().amax(dim=-1)).sqrt()
    positives = score.sum().clamp(min=1.0)
    objectness = _divergence(outputs.objectness, teacher.objectness).sum() / positives
    labels = (_divergence(outputs.labels, teacher.labels).sum(dim=-1) * sure).sum() / positives
    seen = torch.nonzero(score > LEAST_TEACHER_SCORE, as_tuple=True)
    boxes = [decode(each.boxes[seen], prior[seen[1]]) for each in (outputs, teacher)]
    box = (eiou(*boxes)[1] * score[seen]).sum() / positives
    return (
        config.box_loss_weight * box
        + config.objectness_loss_weight * objectness
        + config.label_loss_weight * labels
    )


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each entry's two outcomes; 0 where both agree."""
    chance = wanted.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits, chance, reduction="none")
    return cross - functional.binary_cross_entropy_with_logits(wanted, chance, reduction="none")


def eiou(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU (n,) and smooth extended-IoU loss (n,) of boxes (n, 4), as YuNet was trained with.

    Extended IoU (Peng and Yu 2021, "A systematic IoU-related method") carries the intersection on
    below zero where boxes are apart, so that the loss still has a slope there; near a perfect fit
    it turns quadratic.
    """
    inner_1 = torch.maximum(predicted[:, :2], truth[:, :2])
    inner_2 = torch.minimum(predicted[:, 2:], truth[:, 2:])
    outer_1 = torch.minimum(predicted[:, :2], truth[:, :2])
    low, high = torch.minimum(inner_1, inner_2) - outer_1, torch.maximum(inner_1, inner_2) - outer_1
    first, second = inner_1 - outer_1, inner_2 - outer_1
    extended = second.prod(1) + low.prod(1) - first[:, 0] * high[:, 1] - high[:, 0] * first[:, 1]
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (predicted, truth)]
    loss = 1 - extended / (areas[0] + areas[1] - extended + 1e-7)
    smooth = torch.where(loss < SMOOTH_BELOW, loss**2 / (2 * SMOOTH_BELOW), loss - SMOOTH_BELOW / 2)

    shared = (inner_2 - inner_1).clamp(min=0).prod(dim=1)
    overlap = shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)
    return overlap, smooth

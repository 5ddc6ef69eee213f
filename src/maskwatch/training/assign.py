"""Which priors learn which face, for a whole batch at once.

SimOTA (Ge et al., YOLOX, 2021) lets as many learn a face as their boxes' IoU adds up to; task alignment
(Feng et al., TOOD, 2021) the same number for each face, by score and IoU to the sixth power.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskwatch.training.config import Assigner
from maskwatch.training.network import Outputs, decode
from maskwatch.training.samples import Batch

CENTRE_RADIUS_STRIDES = 2.5
IOU_COST = 3.0
OUTSIDE_COST = 1e5
CANDIDATES = 10
ALIGNED_IOU_POWER = 6.0


@dataclass
class Assignment:
    """Positive priors of a batch, one row each, and the priors that count for objectness.

    Attributes:
        picture: (k,) int64, the picture of the positive.
        prior: (k,) int64, its prior.
        face: (k,) int64, row of `Batch` that it learns.
        counted: (B, P) bool, false where an ignored face makes objectness meaningless.
    """

    picture: Tensor
    prior: Tensor
    face: Tensor
    counted: Tensor


@torch.no_grad()
def assign(outputs: Outputs, batch: Batch, prior: Tensor, assigner: Assigner = "simota") -> Assignment:
    """Match the faces of `batch` to the priors (P, 3) by the outputs' present quality."""
    pictures, count = outputs.objectness.shape
    middle = prior[:, :2] + prior[:, 2:3] / 2
    counted = torch.ones(pictures, count, dtype=torch.bool, device=prior.device)
    ignored = torch.nonzero(batch.ignore).flatten()
    if len(ignored):
        covered = _inside(batch.xyxy[ignored], middle)
        for picture, row in zip(batch.picture[ignored].tolist(), covered, strict=True):
            counted[picture] &= ~row
    faces = torch.nonzero(~batch.ignore).flatten()
    if not len(faces):
        none = faces
        return Assignment(none, none, none, counted)
    cost, overlap = _costs(outputs, batch, faces, prior, middle, assigner)
    candidates = min(CANDIDATES, count)
    if assigner == "simota":
        amounts = overlap.topk(candidates, dim=1).values.sum(dim=1).int().clamp(min=1)
    else:
        amounts = (cost < OUTSIDE_COST).sum(dim=1).clamp(min=1, max=candidates)
    values, chosen = cost.topk(candidates, dim=1, largest=False)
    kept = (torch.arange(candidates, device=prior.device)[None] < amounts[:, None]) & torch.isfinite(values)
    row, place = torch.nonzero(kept, as_tuple=True)
    face, matched = faces[row], chosen[row, place]
    picture = batch.picture[face]
    first = _first_of_each(picture * count + matched, values[row, place])
    picture, matched, face = picture[first], matched[first], face[first]
    counted[picture, matched] = True
    return Assignment(picture, matched, face, counted)


def _costs(
    outputs: Outputs, batch: Batch, faces: Tensor, prior: Tensor, middle: Tensor, assigner: Assigner
) -> tuple[Tensor, Tensor]:
    """(n, P) costs, infinite where a prior is no candidate, and IoU of n faces with all priors."""
    picture, truth = batch.picture[faces], batch.xyxy[faces]
    predicted = decode(outputs.boxes, prior)[picture]
    in_box = _inside(truth, middle)
    centre = (truth[:, :2] + truth[:, 2:]) / 2
    reach = CENTRE_RADIUS_STRIDES * prior[:, 2]
    near = ((middle[None] - centre[:, None]).abs() < reach[None, :, None]).all(dim=-1)
    candidate = in_box | near
    overlap = _iou(truth[:, None], predicted) * candidate
    score = (outputs.labels.sigmoid() * outputs.objectness[..., None].sigmoid()).sqrt()
    miss, hit = -torch.log1p(-score.clamp(max=1 - 1e-6)), -torch.log(score.clamp(min=1e-6))
    if assigner == "simota":  # cross-entropy if the truth is that label
        by_label = miss.sum(dim=-1, keepdim=True) - miss + hit
        iou_cost, at_home = IOU_COST, in_box & near
    else:
        by_label, iou_cost, at_home = hit, ALIGNED_IOU_POWER, in_box
    label_cost = by_label.movedim(-1, 1)[picture, batch.label[faces]]
    cost = label_cost - iou_cost * torch.log(overlap + 1e-8)
    cost = cost + OUTSIDE_COST * ~at_home
    return cost.masked_fill(~candidate, torch.inf), overlap


def _inside(xyxy: Tensor, points: Tensor) -> Tensor:
    """(n, P): which points (P, 2) lie in boxes (n, 4)."""
    left_top = points[None] > xyxy[:, None, :2]
    right_bottom = points[None] < xyxy[:, None, 2:]
    return (left_top & right_bottom).all(dim=-1)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of broadcast boxes (…, 4)."""
    left_top = torch.maximum(first[..., :2], second[..., :2])
    right_bottom = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (right_bottom - left_top).clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)


def _first_of_each(key: Tensor, cost: Tensor) -> Tensor:
    """Indices of the cheapest entry of each distinct key: a prior learns one face only."""
    order = torch.argsort(cost, stable=True)
    order = order[torch.argsort(key[order], stable=True)]
    ordered = key[order]
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return order[fresh]

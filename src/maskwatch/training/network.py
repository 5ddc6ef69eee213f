"""The detector's network: a backbone, YuNet's neck and heads (Wu, Peng, Yu 2023), three labels.

One stage, anchor-free. Input is BGR in 0..255 without normalisation. Level outputs are eight
channels a cell: box (4), objectness (1) and the labels' scores (3), all before the sigmoid.
A cell at column x, row y of stride s stands for the prior (x·s, y·s); its box is decoded as
centre = prior + d·s, size = exp(d)·s, as in YuNet, so that YuNet's weights fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskwatch.labels import LABELS
from maskwatch.training.backbones import backbone_of
from maskwatch.training.blocks import ConvUnit, ResidualUnit, doubled
from maskwatch.training.config import NetworkConfig
from maskwatch.training.refiner import Refiner

LARGEST_LOG_SIZE = 6.0
"""Box sizes are capped at exp(6) ≈ 403 cells."""
NEAR_PX = (32.0, 96.0)
"""Sizes between which `NetworkConfig.near_margin` grows from nothing to all of it."""


class Outputs(NamedTuple):
    """Raw outputs of all levels side by side: P priors of B pictures."""

    boxes: Tensor
    """(B, P, 4) dx, dy, log w, log h in strides."""
    objectness: Tensor
    """(B, P) logits."""
    labels: Tensor
    """(B, P, 3) logits."""


class Head(nn.Module):
    """Shared unit, then a bare unit for box and objectness and one for the labels."""

    def __init__(self, channels: int, label_blocks: int) -> None:
        super().__init__()
        self.shared = ConvUnit(channels, channels)
        self.box = ConvUnit(channels, 5, bare=True)
        self.label_blocks = nn.Sequential(*[ResidualUnit(channels) for _ in range(label_blocks)])
        self.label = ConvUnit(channels, len(LABELS), bare=True)
        for unit, first in ((self.box, 4), (self.label, 0)):
            assert unit.depthwise.bias is not None
            nn.init.constant_(unit.depthwise.bias[first:], -4.6)  # sigmoid ≈ 0.01: few cells are faces

    def forward(self, x: Tensor) -> Tensor:
        """(B, 8, h, w): box, objectness, labels."""
        x = self.shared(x)
        return torch.cat([self.box(x), self.label(self.label_blocks(x))], dim=1)


class MaskNet(nn.Module):
    """Backbone, top-down neck and one head a level; a second stage beside, which has its own training."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.backbone = backbone_of(config)
        self.laterals = nn.ModuleList(ConvUnit(channels, channels) for _ in range(3))
        self.heads = nn.ModuleList(Head(channels, config.label_blocks) for _ in range(3))
        if config.stride_4:
            slim = config.slim_channels
            self.slim_fine = ConvUnit(self.backbone.fine_channels, slim)
            self.slim_coarse = nn.Conv2d(channels, slim, 1)
            self.slim_head = Head(slim, 0)
        self.refiner = Refiner(config) if config.refiner_blocks else None

    def forward(self, x: Tensor) -> Outputs:
        """Outputs for BGR pictures (B, 3, h, w) of any size; cells at the border may be cut off."""
        return outputs_of(self.levels(x))

    def levels(self, x: Tensor) -> list[Tensor]:
        """One (B, 8, ⌈h/stride⌉, ⌈w/stride⌉) a level, finest first."""
        fine, *features = self.backbone(x)
        for index in range(len(features) - 1, -1, -1):
            if index + 1 < len(features):
                features[index] = features[index] + doubled(features[index + 1], features[index])
            features[index] = self.laterals[index](features[index])
        outputs = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        if self.config.stride_4:
            coarse = doubled(self.slim_coarse(features[0]), fine)
            outputs.insert(0, self.slim_head(functional.relu(self.slim_fine(fine) + coarse)))
        return outputs

    def first_stage(self) -> MaskNet:
        """A copy without the second stage."""
        alone = copy.deepcopy(self)
        alone.refiner = None
        return alone

    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())


def outputs_of(levels: Sequence[Tensor]) -> Outputs:
    """The outputs of `MaskNet.levels`, finest first, as one."""
    flat = [level.permute(0, 2, 3, 1).flatten(1, 2) for level in levels]
    both = torch.cat(flat, dim=1).float()
    return Outputs(both[..., :4], both[..., 4], both[..., 5:])


def priors(height: int, width: int, strides: Sequence[int]) -> Tensor:
    """(P, 3) x, y, stride in px of all cells, in the order of `Outputs`."""
    rows = []
    for stride in strides:
        y, x = torch.meshgrid(
            torch.arange(-(-height // stride)), torch.arange(-(-width // stride)), indexing="ij"
        )
        corner = torch.stack([x, y], dim=-1).reshape(-1, 2) * stride
        rows.append(torch.cat([corner, torch.full((len(corner), 1), stride)], dim=1))
    return torch.cat(rows).float()


def decode(raw: Tensor, prior: Tensor) -> Tensor:
    """Boxes xyxy in px (…, P, 4) of raw outputs (…, P, 4) at priors (P, 3)."""
    stride = prior[:, 2:3]
    centre = prior[:, :2] + raw[..., :2] * stride
    half = torch.exp(raw[..., 2:4].clamp(max=LARGEST_LOG_SIZE)) * stride / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def roomier(xyxy: Tensor, margin: float) -> Tensor:
    """Boxes (…, 4) px of which near ones reach `margin` of their sides further on each side.

    Annotators differ most in how much of a near face's hair, ears and neck belongs to it; such a box fits
    those who draw more and is still right for those who draw less.
    """
    first, last = xyxy[..., :2], xyxy[..., 2:]
    sides = last - first
    size = sides.clamp(min=0).prod(dim=-1, keepdim=True).sqrt()
    spare = sides * margin * ((size - NEAR_PX[0]) / (NEAR_PX[1] - NEAR_PX[0])).clamp(0, 1)
    return torch.cat([first - spare, last + spare], dim=-1)

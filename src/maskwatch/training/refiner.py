"""The second stage: sees each face that the detector found, alone and at one size, and judges it again.

The detector meets a face at whatever size it has, with few channels for all of the picture. Its finds are
few, so a network with more channels can look at each of them at the price of a thumbnail, as in the cascades
of Viola and Jones (2001) and of Cai and Vasconcelos (2018). It starts from what MobileNetV2's first blocks
have learnt of ImageNet.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskwatch.labels import LABELS
from maskwatch.training.backbones import mobilenet_blocks
from maskwatch.training.blocks import InvertedResidual
from maskwatch.training.config import NetworkConfig

NEAR_CROP_PX = 96.0
"""From this size on a crop is cut from the picture at a quarter of its sides."""
CROP_SIDE = 64
"""Side in px of the crop that the refiner sees: a nose above a mask is a few pixels of it."""
CROP_SHARE = 1.5
"""Its sides in those of the face's box: chin and hair are in it, and a mask that hangs."""
NO_FACE = len(LABELS)
"""The class of what is no face, behind the labels."""
LEAST_CHANCE, MOST_CHANCE = 0.01, 0.97
"""A face less or more likely to the refiner counts as this."""
MOST_MOVED = 0.5
"""How far a box's middle is moved at most, in its sides, and how much its sides' logarithms are changed."""
MENDED_PX = (16.0, 32.0)
"""Up to the first size all that a box is off by is mended, from the second on nothing: of near faces the
detector knows the edges, and its `roomier` boxes are right by more annotators (docs/experiments.md)."""
_DROPPED_SHARE = 0.2


class Judged(NamedTuple):
    """What the second stage makes of n faces."""

    logits: Tensor
    """(n, 4): of the labels, and of `NO_FACE`."""
    moves: Tensor | None
    """(n, 4): by how much the box's middle is off, in its sides, and the logarithms of its sides; or None."""


class BoxBranch(nn.Module):
    """One layer over the whole crop's features, and the moves."""

    def __init__(self, channels: int, side: int, features: int) -> None:
        super().__init__()
        self.whole = nn.Conv2d(channels, features, side)
        self.last = nn.Conv2d(features, 4, 1)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.weight)  # boxes stay where they are, at first
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, channels, side, side) to `Judged.moves` (n, 4)."""
        moves: Tensor = self.last(functional.relu(self.whole(x), inplace=True))
        return moves.flatten(1).clamp(-MOST_MOVED, MOST_MOVED)


class Refiner(nn.Module):
    """MobileNetV2's first blocks, a pointwise layer, the mean over the crop, and the classes.

    Where the box should be is told by the blocks' features, each at its place, as their mean would not.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32, eps=InvertedResidual.NORM_EPSILON)
        blocks = list(islice(mobilenet_blocks(32), config.refiner_blocks))
        self.stages = nn.Sequential(*blocks)
        last = blocks[-1]
        self.last = nn.Conv2d(last.project.out_channels, config.refiner_features, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(config.refiner_features)
        self.classes = nn.Linear(config.refiner_features, len(LABELS) + 1)
        self.box: BoxBranch | None = None
        if config.refiner_box_features:
            stride = 2 * math.prod(block.depthwise.stride[0] for block in blocks)
            self.box = BoxBranch(last.project.out_channels, CROP_SIDE // stride, config.refiner_box_features)

    def forward(self, crops: Tensor) -> Judged:
        """Judge what RGB crops (n, 3, side, side) in 0..255 show."""
        x = functional.relu6(self.norm(self.conv(crops / 127.5 - 1)), inplace=True)
        x = self.stages(x)
        moves = None if self.box is None else self.box(x)
        x = functional.relu(self.last_norm(self.last(x)), inplace=True)
        x = functional.dropout(x.mean(dim=(2, 3)), _DROPPED_SHARE, self.training)
        return Judged(self.classes(x), moves)


def mended(xyxy: Tensor, moves: Tensor) -> Tensor:
    """Boxes (n, 4) px of which small ones are `moved`, see `MENDED_PX`."""
    size = (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=0).prod(dim=1, keepdim=True).sqrt()
    whole, none = MENDED_PX
    return moved(xyxy, moves * ((none - size) / (none - whole)).clamp(0, 1))


def moved(xyxy: Tensor, moves: Tensor) -> Tensor:
    """Boxes (n, 4) where `Judged.moves` (n, 4) says they are."""
    sides = xyxy[:, 2:] - xyxy[:, :2]
    middle = (xyxy[:, :2] + xyxy[:, 2:]) / 2 + moves[:, :2] * sides
    half = sides * moves[:, 2:].exp() / 2
    return torch.cat([middle - half, middle + half], dim=1)

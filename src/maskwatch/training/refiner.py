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

CROP_SIDE = 48
"""Side in px of the crop that the refiner sees."""
CROP_SHARE = 1.5
"""Its sides in those of the face's box: chin and hair are in it, and a mask that hangs."""
NO_FACE = len(LABELS)
"""The class of what is no face, behind the labels."""
MOST_GROWTH = 1.0
"""Logarithm of how much larger or smaller than the found box a face can be."""
_DROPPED_SHARE = 0.2


class Judgement(NamedTuple):
    """What the second stage holds of n crops."""

    classes: Tensor
    """(n, 4) logits: of the labels, and of `NO_FACE`."""
    change: Tensor
    """(n, 4): the face's middle in sides of the found box from its middle, and the logarithm of its sides."""


class Refiner(nn.Module):
    """MobileNetV2's first blocks and a pointwise layer; the classes from its mean, the box from all of it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32, eps=InvertedResidual.NORM_EPSILON)
        blocks = list(islice(mobilenet_blocks(32), config.refiner_blocks))
        self.stages = nn.Sequential(*blocks)
        self.last = nn.Conv2d(blocks[-1].project.out_channels, config.refiner_features, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(config.refiner_features)
        self.classes = nn.Linear(config.refiner_features, len(LABELS) + 1)
        stride = math.prod(layer.stride[0] for layer in (self.conv, *(block.depthwise for block in blocks)))
        self.box = nn.Linear(config.refiner_features * math.ceil(CROP_SIDE / stride) ** 2, 4)
        nn.init.zeros_(self.box.weight)
        nn.init.zeros_(self.box.bias)

    def forward(self, crops: Tensor) -> Judgement:
        """Judge RGB crops (n, 3, side, side) in 0..255."""
        x = functional.relu6(self.norm(self.conv(crops / 127.5 - 1)), inplace=True)
        x = functional.relu(self.last_norm(self.last(self.stages(x))), inplace=True)
        means = functional.dropout(x.mean(dim=(2, 3)), _DROPPED_SHARE, self.training)
        return Judgement(self.classes(means), self.box(x.flatten(1)))


def moved(change: Tensor) -> Tensor:
    """Boxes xyxy (n, 4), in sides of the found box and from its middle, of changes (n, 4)."""
    half = torch.exp(change[:, 2:].clamp(-MOST_GROWTH, MOST_GROWTH)) / 2
    return torch.cat([change[:, :2] - half, change[:, :2] + half], dim=1)

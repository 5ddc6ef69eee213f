"""The second stage: sees each face that the detector found, alone and at one size, and judges it again.

The detector meets a face at whatever size it has, with few channels for all of the picture. Its finds are
few, so a network with more channels can look at each of them at the price of a thumbnail, as in the cascades
of Viola and Jones (2001) and of Cai and Vasconcelos (2018). It starts from what MobileNetV2's first blocks
have learnt of ImageNet.
"""

from __future__ import annotations

from itertools import islice

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
_DROPPED_SHARE = 0.2


class Refiner(nn.Module):
    """MobileNetV2's first blocks, a pointwise layer, the mean over the crop, and the classes."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32, eps=InvertedResidual.NORM_EPSILON)
        self.stages = nn.Sequential(*islice(mobilenet_blocks(32), config.refiner_blocks))
        last = self.stages[-1]
        assert isinstance(last, InvertedResidual)
        self.last = nn.Conv2d(last.project.out_channels, config.refiner_features, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(config.refiner_features)
        self.classes = nn.Linear(config.refiner_features, len(LABELS) + 1)

    def forward(self, crops: Tensor) -> Tensor:
        """RGB crops (n, 3, side, side) in 0..255 to logits (n, 4): of the labels, and of `NO_FACE`."""
        x = functional.relu6(self.norm(self.conv(crops / 127.5 - 1)), inplace=True)
        x = functional.relu(self.last_norm(self.last(self.stages(x))), inplace=True)
        x = functional.dropout(x.mean(dim=(2, 3)), _DROPPED_SHARE, self.training)
        logits: Tensor = self.classes(x)
        return logits

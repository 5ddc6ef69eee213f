"""Backbones: pictures to feature maps at strides 4, 8, 16 and 32, all but the first of one width.

Two of them: YuNet's, with context blocks, is small enough to ship; MobileNetV2's, which starts from
ImageNet, is the teacher that the small one learns from.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from maskwatch.training.blocks import Adapter, ContextBlock, ConvUnit, InvertedResidual, halved, normed
from maskwatch.training.config import NetworkConfig


class Stem(nn.Module):
    """3×3 convolution to half the side, then a unit."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, outputs, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.unit = ConvUnit(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, outputs, h/2, w/2)."""
        out: Tensor = self.unit(functional.relu(self.norm(self.conv(x)), inplace=True))
        return out


class YuNetBackbone(nn.Module):
    """YuNet's (Wu, Peng, Yu 2023), with context blocks after the stages at strides 8, 16 and 32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = self.fine_channels = config.channels
        self.stem = Stem(config.stem_channels)
        self.stage_4 = nn.Sequential(_stage(config.stem_channels, channels), _stage(channels, channels))
        self.stage_8, self.stage_16, self.stage_32 = (
            nn.Sequential(*_stage(channels, channels), *_context(config, count))
            for count in config.context_blocks
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """BGR (B, 3, h, w) in 0..255 to four feature maps, finest first."""
        features = [self.stage_4(halved(self.stem(x)))]
        for stage in (self.stage_8, self.stage_16, self.stage_32):
            features.append(stage(halved(features[-1])))
        return features


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ConvUnit(inputs, inputs), ConvUnit(inputs, outputs))


def _context(config: NetworkConfig, count: int) -> list[ContextBlock]:
    return [ContextBlock(config.channels, wide=config.wide_context) for _ in range(count)]


_MOBILENET_GROUPS = (
    # widen, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_blocks(inputs: int) -> Iterator[InvertedResidual]:
    """MobileNetV2's `MOBILENET_BLOCKS` blocks, first to last, behind a first layer of `inputs` channels."""
    for widen, outputs, count, stride in _MOBILENET_GROUPS:
        for number in range(count):
            yield InvertedResidual(inputs, outputs, stride=1 if number else stride, widen=widen)
            inputs = outputs


class MobileNetBackbone(nn.Module):
    """MobileNetV2 (Sandler et al. 2018) up to its last block, with adapters to one width.

    Pictures are scaled to −1..1 as Keras does, and padded with −1, which is black: so the scaling
    can be folded into the first convolution.
    """

    STAGES = (3, 6, 13, 17)
    """How many blocks lie before the feature maps of strides 4, 8, 16 and 32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self._frozen_norms = False
        self.conv = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(32, eps=InvertedResidual.NORM_EPSILON)
        blocks = list(mobilenet_blocks(32))
        starts = (0, *self.STAGES[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[start:end]) for start, end in zip(starts, self.STAGES, strict=True)
        )
        widths = [blocks[end - 1].project.out_channels for end in self.STAGES]
        self.fine_channels = widths[0]
        self.adapters = nn.ModuleList(
            nn.Sequential(Adapter(width, config.channels), *_context(config, count))
            for width, count in zip(widths[1:], config.context_blocks, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """BGR (B, 3, h, w) in 0..255 to four feature maps, finest first."""
        x = functional.pad(x / 127.5 - 1, (1, 1, 1, 1), value=-1.0)
        x = functional.relu6(normed(self.conv, self.norm, x), inplace=True)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        adapted = [adapter(x) for adapter, x in zip(self.adapters, features[1:], strict=True)]
        return [features[0], *adapted]

    def freeze(self, blocks: int) -> None:
        """Keep all norms' statistics as they are, and the first layer and `blocks` blocks altogether."""
        self._frozen_norms = True
        fixed = (
            self.conv,
            self.norm,
            *[block for stage in self.stages for block in stage.children()][:blocks],
        )
        for module in fixed:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> MobileNetBackbone:
        """As any module's; norms that are frozen stay as in use."""
        super().train(mode)
        if self._frozen_norms:
            for part in (self.norm, *self.stages.modules()):
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        return self


def backbone_of(config: NetworkConfig) -> YuNetBackbone | MobileNetBackbone:
    """The backbone that `config` names."""
    return MobileNetBackbone(config) if config.backbone == "mobilenet_v2" else YuNetBackbone(config)

"""The detector's network: YuNet's layout (Wu, Peng, Yu 2023), three labels, and wider reach.

One stage, anchor-free. Input is BGR in 0..255 without normalisation. Level outputs are eight
channels a cell: box (4), objectness (1) and the labels' scores (3), all before the sigmoid.
A cell at column x, row y of stride s stands for the prior (x·s, y·s); its box is decoded as
centre = prior + d·s, size = exp(d)·s, as in YuNet, so that YuNet's weights fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskwatch.errors import TrainingError
from maskwatch.labels import LABELS
from maskwatch.training.config import NetworkConfig

CHANNELS = 64
SLIM_CHANNELS = 32
LARGEST_LOG_SIZE = 6.0
"""Box sizes are capped at exp(6) ≈ 403 cells."""


class Outputs(NamedTuple):
    """Raw outputs of all levels side by side: P priors of B pictures."""

    boxes: Tensor
    """(B, P, 4) dx, dy, log w, log h in strides."""
    objectness: Tensor
    """(B, P) logits."""
    labels: Tensor
    """(B, P, 3) logits."""


class ConvUnit(nn.Module):
    """Pointwise, then depthwise 3×3 convolution, then batch norm and ReLU unless `bare`."""

    def __init__(self, inputs: int, outputs: int, *, bare: bool = False) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.depthwise = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.norm: nn.Module | None = None if bare else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        x = self.depthwise(self.pointwise(x))
        return x if self.norm is None else functional.relu(self.norm(x), inplace=True)


class ResidualUnit(nn.Module):
    """A `ConvUnit` added to its input; starts as the identity, so a warm start survives it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to the same."""
        return functional.relu(x + self.norm(self.depthwise(self.pointwise(x))), inplace=True)


class ContextBlock(nn.Module):
    """Bottleneck (He et al. 2016) with a dense 3×3 convolution; starts as the identity.

    Dense, because a depthwise 5×5 of as many multiplications trains a third slower on a CPU and
    runs no faster; see docs/experiments.md.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        slim = channels // 2
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, slim, 1, bias=False), nn.BatchNorm2d(slim), nn.ReLU(inplace=True)
        )
        self.mix = nn.Sequential(
            nn.Conv2d(slim, slim, 3, padding=1, bias=False), nn.BatchNorm2d(slim), nn.ReLU(inplace=True)
        )
        self.project = nn.Conv2d(slim, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to the same."""
        return x + self.norm(self.project(self.mix(self.reduce(x))))


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


def _halved(x: Tensor) -> Tensor:
    """Largest of each 2×2 cells; an odd last row or column stands alone."""
    return functional.max_pool2d(x, 2, ceil_mode=True)


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """Each cell twice in both directions, cut to the size of `like`."""
    larger = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    return larger[..., : like.shape[2], : like.shape[3]]


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ConvUnit(inputs, inputs), ConvUnit(inputs, outputs))


def _deep_stage(context_blocks: int) -> nn.Sequential:
    blocks = [ContextBlock(CHANNELS) for _ in range(context_blocks)]
    return nn.Sequential(*_stage(CHANNELS, CHANNELS), *blocks)


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
    """Backbone, top-down neck and one head a level."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(16)
        self.stage_4 = nn.Sequential(_stage(16, CHANNELS), _stage(CHANNELS, CHANNELS))
        self.stage_8, self.stage_16, self.stage_32 = (_deep_stage(count) for count in config.context_blocks)
        self.laterals = nn.ModuleList(ConvUnit(CHANNELS, CHANNELS) for _ in range(3))
        self.heads = nn.ModuleList(Head(CHANNELS, config.label_blocks) for _ in range(3))
        if config.stride_4:
            self.slim_fine = ConvUnit(CHANNELS, SLIM_CHANNELS)
            self.slim_coarse = nn.Conv2d(CHANNELS, SLIM_CHANNELS, 1)
            self.slim_head = Head(SLIM_CHANNELS, 0)

    def forward(self, x: Tensor) -> Outputs:
        """Outputs for BGR pictures (B, 3, h, w) of any size; cells at the border may be cut off."""
        flat = [level.permute(0, 2, 3, 1).flatten(1, 2) for level in self.levels(x)]
        both = torch.cat(flat, dim=1).float()
        return Outputs(both[..., :4], both[..., 4], both[..., 5:])

    def levels(self, x: Tensor) -> list[Tensor]:
        """One (B, 8, ⌈h/stride⌉, ⌈w/stride⌉) a level, finest first."""
        fine = self.stage_4(_halved(self.stem(x)))
        features = [self.stage_8(_halved(fine))]
        for stage in (self.stage_16, self.stage_32):
            features.append(stage(_halved(features[-1])))
        for index in range(len(features) - 1, -1, -1):
            if index + 1 < len(features):
                features[index] = features[index] + _doubled(features[index + 1], features[index])
            features[index] = self.laterals[index](features[index])
        outputs = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        if self.config.stride_4:
            coarse = _doubled(self.slim_coarse(features[0]), fine)
            outputs.insert(0, self.slim_head(functional.relu(self.slim_fine(fine) + coarse)))
        return outputs

    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())


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


def load_yunet(network: MaskNet, path: Path) -> int:
    """Start `network` from a YuNet-n checkpoint (libfacedetection.train, Apache-2.0).

    Its face class seeds each of our labels. Returns the number of tensors taken over.

    Raises:
        TrainingError: the file is no YuNet-n checkpoint.
    """
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # torch raises many kinds for a file it cannot read
        raise TrainingError(f"{path}: no YuNet checkpoint ({error}); pass yunet_n.pth") from error
    own = network.state_dict()
    taken = set()
    for name, tensor in state.items():
        target = _name_in_masknet(name)
        if target not in own:
            continue
        value = tensor
        if ".label." in target:
            value = tensor.repeat(len(LABELS), *[1] * (tensor.dim() - 1))
        elif ".box." in target:
            rows = slice(4, 5) if "_obj." in name else slice(0, 4)
            value = own[target].clone()
            value[rows] = tensor
        if value.shape != own[target].shape:
            shapes = f"{tuple(value.shape)}, ours {tuple(own[target].shape)}"
            raise TrainingError(f"{path}: tensor {name} has shape {shapes}; pass yunet_n.pth")
        own[target] = value
        taken.add(target)
    if len(taken) < 150:
        raise TrainingError(f"{path}: only {len(taken)} tensors fit; pass yunet_n.pth")
    network.load_state_dict(own)
    return len(taken)


_STAGES = {
    "model1": "stage_4.0",
    "model2": "stage_4.1",
    "model3": "stage_8",
    "model4": "stage_16",
    "model5": "stage_32",
}
_UNITS = {
    "multi_level_share_convs": "shared",
    "multi_level_cls": "label",
    "multi_level_bbox": "box",
    "multi_level_obj": "box",
}


def _name_in_masknet(name: str) -> str:
    """Our name for one of YuNet's tensors, "" for those of its landmark head."""
    parts = name.split(".")
    if name.startswith("backbone.model0.conv1"):
        return f"stem.conv.{parts[-1]}"
    if name.startswith("backbone.model0.bn1"):
        return f"stem.norm.{parts[-1]}"
    part = {"conv1": "pointwise", "conv2": "depthwise", "bn": "norm"}[parts[-2]]
    tail = f"{part}.{parts[-1]}"
    if name.startswith("backbone.model0"):
        return f"stem.unit.{tail}"
    if parts[0] == "backbone":
        place = {"conv1": 0, "conv2": 1}[parts[2]]
        return f"{_STAGES[parts[1]]}.{place}.{tail}"
    if parts[0] == "neck":
        return f"laterals.{parts[2]}.{tail}"
    unit = _UNITS.get(parts[1])
    return f"heads.{parts[2]}.{unit}.{tail}" if unit else ""

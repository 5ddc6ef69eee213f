"""The building blocks of the detector's network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


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
    """Pointwise, spatial and pointwise convolution added to the input; starts as the identity.

    `wide` is an inverted residual (Sandler et al. 2018) with a depthwise 5×5, which sees farther;
    else it is a bottleneck (He et al. 2016) with a dense 3×3, which trains a third faster on a CPU.
    """

    def __init__(self, channels: int, *, wide: bool) -> None:
        super().__init__()
        inner = channels * 2 if wide else channels // 2
        side, groups = (5, inner) if wide else (3, 1)
        self.enter = _with_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.mix = _with_norm(nn.Conv2d(inner, inner, side, padding=side // 2, groups=groups, bias=False))
        self.project = nn.Conv2d(inner, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to the same."""
        return x + self.norm(self.project(self.mix(self.enter(x))))


def _with_norm(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): widen, depthwise 3×3, narrow; plus its input if it fits."""

    NORM_EPSILON = 1e-3
    """As in Keras' MobileNetV2, whose weights fit."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, widen: int) -> None:
        super().__init__()
        wide = inputs * widen
        self.added = stride == 1 and inputs == outputs
        self.expand: nn.Conv2d | None = None
        self.expand_norm: nn.BatchNorm2d | None = None
        if widen > 1:
            self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
            self.expand_norm = nn.BatchNorm2d(wide, eps=self.NORM_EPSILON)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(wide, eps=self.NORM_EPSILON)
        self.project = nn.Conv2d(wide, outputs, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(outputs, eps=self.NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, ⌈h/stride⌉, ⌈w/stride⌉)."""
        inner = x
        if self.expand is not None and self.expand_norm is not None:
            inner = functional.relu6(self.expand_norm(self.expand(x)), inplace=True)
        inner = functional.relu6(self.depthwise_norm(self.depthwise(inner)), inplace=True)
        inner = self.project_norm(self.project(inner))
        return x + inner if self.added else inner


class Adapter(nn.Module):
    """Pointwise convolution to the neck's number of channels, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        return functional.relu(self.norm(self.pointwise(x)), inplace=True)


def halved(x: Tensor) -> Tensor:
    """Largest of each 2×2 cells; an odd last row or column stands alone."""
    return functional.max_pool2d(x, 2, ceil_mode=True)


def doubled(x: Tensor, like: Tensor) -> Tensor:
    """Each cell twice in both directions, cut to the size of `like`."""
    larger = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    return larger[..., : like.shape[2], : like.shape[3]]

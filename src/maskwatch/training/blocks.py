"""The building blocks of the detector's network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight


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


def normed(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """`norm(convolution(x))`; where the norm's statistics stand still, as one convolution."""
    if norm.training:
        out: Tensor = norm(_convolved(convolution, x, convolution.weight))
        return out
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    return _convolved(convolution, x, weight, norm.bias - norm.running_mean * scale)


def _convolved(convolution: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, groups = convolution.stride, convolution.groups
    if stride == (1, 1) or groups != x.shape[1] or not x.requires_grad:
        return functional.conv2d(x, weight, bias, stride, convolution.padding, groups=groups)
    if torch.is_autocast_enabled(x.device.type):
        x, weight = (each.to(torch.get_autocast_dtype(x.device.type)) for each in (x, weight))
    out: Tensor = _StridedDepthwise.apply(x, weight, stride, convolution.padding)  # type: ignore[no-untyped-call]
    return out if bias is None else out + bias.to(out.dtype)[:, None, None]


class _StridedDepthwise(torch.autograd.Function):
    """A depthwise convolution whose gradients a CPU finds as fast with a stride as without.

    For the input's gradient of ten 160×160×96 maps at stride 2 oneDNN takes 50 ms, at stride 1 2 ms. So it is
    found as one of stride 1, of the output's gradient with zeros between its cells.
    """

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = gradients
        x, weight = context.saved_tensors
        stride, padding, groups = context.stride, context.padding, len(weight)
        spread = torch.zeros_like(x)
        spread[..., :: stride[0], :: stride[1]] = gradient
        of_x = functional.conv2d(spread, weight.flip(2, 3), None, 1, padding, groups=groups)
        of_weight = conv2d_weight(x, weight.shape, gradient, stride, padding, groups=groups)  # type: ignore[no-untyped-call]
        return of_x, of_weight, None, None


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
            inner = functional.relu6(normed(self.expand, self.expand_norm, x), inplace=True)
        inner = functional.relu6(normed(self.depthwise, self.depthwise_norm, inner), inplace=True)
        inner = normed(self.project, self.project_norm, inner)
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

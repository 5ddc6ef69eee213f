"""The network's blocks as ONNX operators, batch norms folded into the convolutions before them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from maskwatch.training.blocks import Adapter, ContextBlock, ConvUnit, InvertedResidual, ResidualUnit
from maskwatch.training.graph import GraphBuilder


def add_module(graph: GraphBuilder, x: str, module: nn.Module) -> str:
    """One of the network's blocks, or several in a row, applied to `x`."""
    if isinstance(module, ConvUnit):
        x = graph.conv(x, module.pointwise)
        last = folded(module.depthwise, module.norm)
        return graph.conv(x, last, activation=None if module.norm is None else "Relu")
    if isinstance(module, ResidualUnit):
        inner = graph.conv(graph.conv(x, module.pointwise), folded(module.depthwise, module.norm))
        return graph.op("Relu", graph.op("Add", x, inner))
    if isinstance(module, ContextBlock):
        inner = graph.conv(x, folded(module.enter[0], module.enter[1]), activation="Relu")
        inner = graph.conv(inner, folded(module.mix[0], module.mix[1]), activation="Relu")
        return graph.op("Add", x, graph.conv(inner, folded(module.project, module.norm)))
    if isinstance(module, Adapter):
        return graph.conv(x, folded(module.pointwise, module.norm), activation="Relu")
    if isinstance(module, InvertedResidual):
        return _inverted_residual(graph, x, module)
    if isinstance(module, nn.Sequential):
        for part in module:
            x = add_module(graph, x, part)
        return x
    raise TypeError(f"no ONNX form is known for {type(module).__name__}")


def _inverted_residual(graph: GraphBuilder, x: str, block: InvertedResidual) -> str:
    inner = x
    if block.expand is not None:
        inner = graph.conv(inner, folded(block.expand, block.expand_norm), activation="Relu6")
    inner = graph.conv(inner, folded(block.depthwise, block.depthwise_norm), activation="Relu6")
    inner = graph.conv(inner, folded(block.project, block.project_norm))
    return graph.op("Add", x, inner) if block.added else inner


def folded(convolution: nn.Module, norm: nn.Module | None) -> nn.Conv2d:
    """The convolution with the batch norm behind it, if there is one, in its weights."""
    assert isinstance(convolution, nn.Conv2d)
    return convolution if norm is None else fuse_conv_bn_eval(convolution, norm)  # type: ignore[arg-type]


def widened(layer: nn.Conv2d, before: int, behind: int) -> nn.Conv2d:
    """The pointwise layer with as many more output channels, all 0, before and behind its own."""
    weight, bias = _weights(layer)
    wide = nn.Conv2d(layer.in_channels, before + layer.out_channels + behind, 1)
    wide.weight = nn.Parameter(functional.pad(weight, (0, 0, 0, 0, 0, 0, before, behind)))
    wide.bias = nn.Parameter(functional.pad(bias, (before, behind)))
    return wide


def side_by_side(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One depthwise 3×3 layer for the channels of both."""
    channels = first.out_channels + second.out_channels
    joined = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    weights, biases = zip(_weights(first), _weights(second), strict=True)
    joined.weight, joined.bias = nn.Parameter(torch.cat(weights)), nn.Parameter(torch.cat(biases))
    return joined


def averaging(channels: int, factor: int) -> nn.Conv2d:
    """The mean of each `factor`×`factor` pixels: onnxruntime convolves faster than it pools."""
    layer = nn.Conv2d(channels, channels, factor, stride=factor, bias=False)
    layer.weight = nn.Parameter(torch.eye(channels)[:, :, None, None].expand_as(layer.weight) / factor**2)
    return layer


def _weights(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    assert layer.bias is not None
    return layer.weight.detach(), layer.bias.detach()

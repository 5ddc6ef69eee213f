"""Warm starts: weights of others, under their licences, as first values of our network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from maskwatch.errors import MissingExtraError, ModelError, TrainingError
from maskwatch.files import check_ordinary
from maskwatch.labels import LABELS
from maskwatch.training.backbones import MobileNetBackbone
from maskwatch.training.config import YUNET_STEM_CHANNELS
from maskwatch.training.hdf5 import StoredArrays
from maskwatch.training.network import MaskNet
from maskwatch.training.refiner import Refiner


def load_mobilenet(network: MaskNet | Refiner, path: Path) -> int:
    """Start a backbone or a second stage from Keras' MobileNetV2 (`….weights.h5`, ImageNet, Apache-2.0).

    Returns the number of tensors taken over.

    Raises:
        TrainingError: the network has another backbone, or the file holds other weights.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.for_extra("reading Keras weights", "h5py", "train") from error
    backbone = network if isinstance(network, Refiner) else network.backbone
    if not isinstance(backbone, MobileNetBackbone | Refiner):
        raise TrainingError(f"{path}: weights of MobileNetV2, but the network's backbone is another one")
    taken = 0
    counts: dict[str, int] = {}
    try:
        check_ordinary(path)
        with h5py.File(path, "r") as file:
            arrays = StoredArrays(file)
            for module in [backbone.conv, backbone.norm, *backbone.stages.modules()]:
                if not isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                    continue
                kind = "batch_normalization" if isinstance(module, nn.BatchNorm2d) else "conv2d"
                kind = "depthwise_conv2d" if isinstance(module, nn.Conv2d) and module.groups > 1 else kind
                number = counts[kind] = counts.get(kind, -1) + 1
                place = f"layers/{kind}{f'_{number}' if number else ''}/vars"
                stored = [
                    torch.from_numpy(arrays.read(f"{place}/{i}")) for i in range(len(arrays.names(place)))
                ]
                taken += _take_keras(module, stored)
        if isinstance(backbone, MobileNetBackbone):
            with torch.no_grad():
                backbone.conv.weight.copy_(backbone.conv.weight.flip(1))  # Keras knows RGB, that one BGR
    except (ModelError, OSError, KeyError, RuntimeError, ValueError, IndexError) as error:
        raise TrainingError(
            f"{path}: no weights of Keras' MobileNetV2 ({error}); pass mobilenet_v2_….weights.h5"
        ) from error
    return taken


@torch.no_grad()
def _take_keras(layer: nn.Conv2d | nn.BatchNorm2d, stored: list[Tensor]) -> int:
    """Copy one layer's weights as Keras stores them; kernels lie as (h, w, inputs, outputs)."""
    if isinstance(layer, nn.Conv2d):
        order = (2, 3, 0, 1) if layer.groups > 1 else (3, 2, 0, 1)
        targets, stored = [layer.weight.data], [stored[0].permute(*order)]
    else:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        targets = [layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var]
    for target, value in zip(targets, stored, strict=True):
        if target.shape != value.shape:
            raise ValueError(f"a layer has shape {tuple(value.shape)}, ours {tuple(target.shape)}")
        target.copy_(value)
    return len(targets)


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
        else:
            copies = network.config.stem_channels // YUNET_STEM_CHANNELS
            value = widened(target, tensor, copies, own[target].shape)
        if value.shape != own[target].shape:
            shapes = f"{tuple(value.shape)}, ours {tuple(own[target].shape)}"
            raise TrainingError(f"{path}: tensor {name} has shape {shapes}; pass yunet_n.pth")
        own[target] = value
        taken.add(target)
    if len(taken) < 150:
        raise TrainingError(f"{path}: only {len(taken)} tensors fit; pass yunet_n.pth")
    network.load_state_dict(own)
    return len(taken)


def widened(name: str, tensor: Tensor, times: int, wanted: torch.Size) -> Tensor:
    """Our tensor `name` for a stem `times` as wide, which answers the same (Chen et al. 2016, Net2Net).

    A layer behind takes from each copy of a channel a share by chance, so that copies learn different
    things; the same chance each time, so that networks widened apart still mix. What lies elsewhere, or
    has the `wanted` shape, stays as it is.
    """
    if tensor.shape == wanted or tensor.dim() != len(wanted) or not name.startswith(_STEM):
        return tensor
    if tensor.shape[0] * times == wanted[0]:
        tensor = tensor.repeat(times, *[1] * (tensor.dim() - 1))
    if tensor.dim() > 1 and tensor.shape[1] * times == wanted[1]:
        chance = torch.Generator().manual_seed(0)
        shares = torch.rand(times, *tensor.shape[:2], generator=chance).softmax(dim=0)
        tensor = torch.cat([tensor * share[:, :, None, None] for share in shares], dim=1)
    return tensor


_STEM = ("backbone.stem.", "backbone.stage_4.0.")
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
        return f"backbone.stem.conv.{parts[-1]}"
    if name.startswith("backbone.model0.bn1"):
        return f"backbone.stem.norm.{parts[-1]}"
    part = {"conv1": "pointwise", "conv2": "depthwise", "bn": "norm"}[parts[-2]]
    tail = f"{part}.{parts[-1]}"
    if name.startswith("backbone.model0"):
        return f"backbone.stem.unit.{tail}"
    if parts[0] == "backbone":
        place = {"conv1": 0, "conv2": 1}[parts[2]]
        return f"backbone.{_STAGES[parts[1]]}.{place}.{tail}"
    if parts[0] == "neck":
        return f"laterals.{parts[2]}.{tail}"
    unit = _UNITS.get(parts[1])
    return f"heads.{parts[2]}.{unit}.{tail}" if unit else ""

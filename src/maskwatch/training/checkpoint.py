"""Checkpoints: everything a run needs to go on, written so that a crash never leaves half a file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskwatch.errors import TrainingError
from maskwatch.files import saving
from maskwatch.training.config import TrainConfig
from maskwatch.training.network import MaskNet

LARGEST_SMALL_BYTES = 3_000_000
"""A small checkpoint larger than that keeps its weights in eight bits each."""
_STEPS = 127
_SCALE = "@scale"


@dataclass
class Checkpoint:
    """State of a run after `step` steps.

    `network` and `optimizer` may be None in a small checkpoint that holds the averaged weights
    alone; training can start from it, with a fresh optimiser.
    """

    config: TrainConfig
    step: int
    average: dict[str, torch.Tensor]
    network: dict[str, torch.Tensor] | None = None
    optimizer: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write to `path`, through a neighbour that is renamed when whole.

        Where averaged weights alone are above `LARGEST_SMALL_BYTES`, each is rounded to one of 255 steps of
        its output channel's largest, and takes a byte.
        """
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if (
            self.network is None
            and sum(value.nbytes for value in self.average.values()) > LARGEST_SMALL_BYTES
        ):
            content["average"] = _packed(self.average)
        content["config"] = dataclasses.asdict(self.config)
        with saving(path, sync=True) as partial:
            torch.save(content, partial)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; nothing in the file is executed.

        Raises:
            TrainingError: it is missing, damaged or not ours.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            config = TrainConfig.from_dict(content.pop("config"))
            average = _unpacked(content.pop("average"))
            return cls(config=config, average=average, **content)
        except Exception as error:  # torch raises many kinds for a file it cannot read
            raise TrainingError(f"{path}: no checkpoint of maskwatch ({error}); check the path") from error

    def averaged(self) -> MaskNet:
        """The network with the averaged weights, as it is exported."""
        network = MaskNet(self.config.network).eval()
        network.load_state_dict(self.average)
        return network

    def small(self) -> Checkpoint:
        """The same without optimiser and raw weights: fit to be kept in the repository."""
        return dataclasses.replace(self, network=None, optimizer=None)


def _packed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    packed = {}
    for name, value in state.items():
        if value.ndim < 2:
            packed[name] = value
            continue
        scale = value.abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True).clamp(min=1e-12) / _STEPS
        packed[name] = (value / scale).round().to(torch.int8)
        packed[name + _SCALE] = scale
    return packed


def _unpacked(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: value * state[name + _SCALE] if name + _SCALE in state else value
        for name, value in state.items()
        if not name.endswith(_SCALE)
    }

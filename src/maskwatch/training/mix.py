"""Average the weights of checkpoints of one lineage: often better than each of them.

Networks that were fine-tuned from the same start lie in one basin, and a point between them generalises
better (Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of zero-shot models"). Networks of other
starts do not mix. One that was trained on with more blocks does: those start as the identity, which the
networks without them are taken to hold; so does one with a wider stem, which starts with the same answers.
A second stage is taken from those that have one, and the widest `near_margin`.

    python -m maskwatch.training.mix DATA -o runs/mix first.pt=0.5 second.pt=0.35 third.pt=0.15

writes the averaged checkpoint and the calibrated model, and prints figures on the pictures kept out of
training: by those, never by others, the shares are chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from maskwatch.errors import MaskwatchError, TrainingError
from maskwatch.training.blocks import ContextBlock, ResidualUnit
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.network import MaskNet
from maskwatch.training.run import RunPaths, finish, holdout_of
from maskwatch.training.warm_start import widened


def mix(shares: Mapping[Path, float], near_margin: float | None = None) -> Checkpoint:
    """A small checkpoint whose weights are the mean of those at the paths, weighted by their shares.

    `near_margin` is as in a recipe; None: the widest of theirs.

    Raises:
        TrainingError: a share is not above 0, or the checkpoints are of different layouts.
    """
    if not shares or min(shares.values()) <= 0:
        raise TrainingError("shares must be above 0; leave out a checkpoint that should not count")
    loaded = {path: Checkpoint.load(path) for path in shares}
    largest = max(loaded, key=lambda path: _detector_size(loaded[path]))
    config = loaded[largest].config
    judging = max((one.config.network for one in loaded.values()), key=lambda layout: layout.refiner_blocks)
    if near_margin is None:
        near_margin = max(one.config.network.near_margin for one in loaded.values())
    layout = replace(config.network.with_second_stage_of(judging), near_margin=near_margin)
    whole = MaskNet(layout).eval()
    averages = {}
    for path, one in loaded.items():
        grown = _grown(one, whole)
        if grown is None:
            raise TrainingError(f"{path}: another layout than {largest}; only equal ones and grown ones mix")
        averages[path] = grown

    def mean(name: str) -> Tensor:
        having = {path: one[name] for path, one in averages.items() if name in one}
        first = having.get(largest, next(iter(having.values())))
        if not first.is_floating_point():
            return first  # a count of batches
        total = sum(shares[path] for path in having)
        return sum((value * (shares[path] / total) for path, value in having.items()), torch.zeros(()))

    average = {name: mean(name) for name in whole.state_dict()}
    return Checkpoint(replace(config, network=layout), max(one.step for one in loaded.values()), average)


def _detector_size(one: Checkpoint) -> tuple[int, int]:
    """How many tensors the first stage has, and how many values."""
    first = [value.numel() for name, value in one.average.items() if not name.startswith("refiner.")]
    return len(first), sum(first)


def _grown(one: Checkpoint, whole: MaskNet) -> dict[str, Tensor] | None:
    """The average of `one` with the stem and blocks of `whole`; None where more than that differs.

    A second stage is left to those that have one.
    """
    state = whole.state_dict()
    copies = whole.config.stem_channels // one.config.network.stem_channels
    average = {
        name: widened(name, value, copies, state[name].shape) if name in state else value
        for name, value in one.average.items()
    }
    if any(name not in state or state[name].shape != value.shape for name, value in average.items()):
        return None
    blocks = [
        name for name, module in whole.named_modules() if isinstance(module, ContextBlock | ResidualUnit)
    ]
    grown = dict(average)
    for name in state.keys() - average.keys():
        if name.startswith("refiner."):
            continue
        block = next((block for block in blocks if name.startswith(f"{block}.")), None)
        if block is None:
            return None
        last = name in (f"{block}.norm.weight", f"{block}.norm.bias")
        grown[name] = torch.zeros_like(state[name]) if last else state[name]
    return grown


def main() -> None:
    """Read the command line, mix, export and report."""
    parser = argparse.ArgumentParser(
        prog="python -m maskwatch.training.mix", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("data", type=Path, help="COCO folder that the checkpoints were trained on")
    parser.add_argument("checkpoint", nargs="+", help="PATH=SHARE")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for small.pt and model.onnx")
    parser.add_argument("--corrections", type=Path, help="JSON that mends labels")
    parser.add_argument("--version", default="1", help="the model card's version")
    parser.add_argument("--near-margin", type=float, help="as in a recipe, in place of the checkpoints' own")
    given = parser.parse_args()
    try:
        shares = {}
        for words in given.checkpoint:
            path, _, share = words.rpartition("=")
            shares[Path(path)] = float(share)
        mixed = mix(shares, given.near_margin)
        holdout = holdout_of(given.data, given.corrections, mixed.config).judging
        print(finish(mixed, holdout, RunPaths(given.output), version=given.version))
    except (MaskwatchError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Average the weights of checkpoints of one lineage: often better than each of them.

Networks that were fine-tuned from the same start lie in one basin, and a point between them generalises
better (Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of zero-shot models"). Networks of other
starts do not mix.

    python -m maskwatch.training.mix DATA -o runs/mix first.pt=0.5 second.pt=0.35 third.pt=0.15

writes the averaged checkpoint and the calibrated model, and prints figures on the pictures kept out of
training: by those, never by others, the shares are chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from maskwatch.datasets import read_coco
from maskwatch.errors import MaskwatchError, TrainingError
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.corrections import read_corrections
from maskwatch.training.run import RunPaths, export_calibrated, judging, measure, split_holdout


def mix(shares: Mapping[Path, float]) -> Checkpoint:
    """A small checkpoint whose weights are the mean of those at the paths, weighted by their shares.

    Raises:
        TrainingError: a share is not above 0, or the checkpoints are of different layouts.
    """
    if not shares or min(shares.values()) <= 0:
        raise TrainingError("shares must be above 0; leave out a checkpoint that should not count")
    total = sum(shares.values())
    loaded = {path: Checkpoint.load(path) for path in shares}
    first = next(iter(loaded.values()))
    for path, one in loaded.items():
        if one.config.network != first.config.network:
            raise TrainingError(f"{path}: another layout than {next(iter(loaded))}; only equal ones mix")
    average = {
        name: sum(
            (one.average[name] * (shares[path] / total) for path, one in loaded.items()), torch.zeros(())
        )
        if value.is_floating_point()
        else value
        for name, value in first.average.items()
    }
    return Checkpoint(first.config, max(one.step for one in loaded.values()), average)


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
    given = parser.parse_args()
    try:
        shares = {}
        for words in given.checkpoint:
            path, _, share = words.rpartition("=")
            shares[Path(path)] = float(share)
        mixed = mix(shares)
        _, holdout = split_holdout(list(read_coco(given.data)), mixed.config.holdout_share)
        mended = read_corrections(given.corrections) if given.corrections else {}
        holdout = judging(holdout, mended, mixed.config)
        paths = RunPaths(given.output)
        calibration = export_calibrated(mixed.averaged(), holdout, paths.model, version=given.version)
        mixed.save(paths.small_checkpoint)
    except (MaskwatchError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    if holdout:
        figures = measure(paths.model, holdout)
        print(f"held out: mAP50 {figures.map_two:.4f}, face AP {figures.face_ap:.4f}; {calibration}")
    print(f"written: {paths.model}, {paths.small_checkpoint}")


if __name__ == "__main__":
    main()

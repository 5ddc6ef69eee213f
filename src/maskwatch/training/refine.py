r"""Train the second stage of a detector, which stays as it is, and export both as one model.

    python -m maskwatch.training.refine DATA -o runs/refined --recipe configs/small-refined.json \
        --init checkpoints/maskwatch-small.pt --imagenet MOBILENET --landmark-model LANDMARKS

Interrupted, the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskwatch.errors import MaskwatchError, TrainingError
from maskwatch.training.calibration import Calibration
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import TrainConfig
from maskwatch.training.crops import UNCLEAR, CropBatch, CropBatches
from maskwatch.training.export import export_onnx
from maskwatch.training.loop import (
    LOG_EVERY_STEPS,
    ResumableRun,
    WeightAverage,
    keep_freed_memory,
    learning_rate,
    loader,
    mixed_precision,
    parameter_groups,
)
from maskwatch.training.losses import eiou
from maskwatch.training.network import MaskNet
from maskwatch.training.refiner import Refiner, moved
from maskwatch.training.run import RunPaths, card_of, finish, samples_for, start_from
from maskwatch.training.samples import SampleMaker
from maskwatch.training.warm_start import load_mobilenet

UNIT_BOX = torch.tensor([[-0.5, -0.5, 0.5, 0.5]])
"""A find, in its own sides from its middle."""


def train_refiner(
    config: TrainConfig,
    maker: SampleMaker,
    folder: Path,
    network: MaskNet,
    report: Callable[[str], None] = lambda words: None,
) -> MaskNet:
    """Train `network.refiner` on what the rest of `network` finds in samples; give the averaged network.

    Raises:
        TrainingError: there is no second stage, or the last checkpoint in `folder` does not fit.
    """
    if network.refiner is None:
        raise TrainingError("there is no second stage to train; set network.refiner_blocks in the recipe")
    keep_freed_memory()
    torch.manual_seed(config.seed)
    refiner = network.refiner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = WeightAverage(network, config.ema_decay)
    optimizer = torch.optim.AdamW(parameter_groups(refiner, config), config.learning_rate)
    run = ResumableRun(folder / "last.pt", config, network, average, optimizer)
    first_stage, detector = network.first_stage(), folder / "first-stage.onnx"
    export_onnx(first_stage, card_of(first_stage, Calibration()), detector)
    batches = CropBatches(maker, config, detector, config.seed + run.step)
    losses = []
    with run:
        for batch in loader(batches, config):
            if run.step >= config.steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, run.step) * group["share"]
            losses.append(_step(refiner.train(), optimizer, batch, config))
            average.update(network, run.step)
            run.step += 1
            if run.step % LOG_EVERY_STEPS == 0:
                report(f"step {run.step}/{config.steps}: loss {sum(losses) / len(losses):.4f}")
                losses = []
            run.save_when_due()
    return average.network


def _step(refiner: Refiner, optimizer: torch.optim.Optimizer, batch: CropBatch, config: TrainConfig) -> float:
    """Forward, backward and one optimiser step; the loss."""
    crops = batch.crops.float().contiguous(memory_format=torch.channels_last)
    with mixed_precision(config, crops.device):
        judged = refiner(crops)
    loss = functional.cross_entropy(
        judged.logits.float(), batch.target, label_smoothing=config.label_smoothing, ignore_index=UNCLEAR
    )
    if judged.moves is not None:
        loss = loss + config.box_loss_weight * _box_loss(judged.moves.float(), batch.face)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(refiner.parameters(), config.gradient_norm)
    optimizer.step()
    return float(loss.detach())


def _box_loss(moves: Tensor, face: Tensor) -> Tensor:
    """The mean over the finds of a face, by their `Judged.moves` (n, 4) and `CropBatch.face` (n, 4)."""
    of_face = ~face.isnan().any(dim=1)
    count = int(of_face.sum())
    _, distance = eiou(moved(UNIT_BOX.expand(count, 4), moves[of_face]), face[of_face])
    return distance.sum() / max(1, count)


def _of_detector(config: TrainConfig, init: Path) -> TrainConfig:
    """`config` with the detector of the checkpoint `init`, whatever layout it asks for itself."""
    detector = Checkpoint.load(init).config.network
    return replace(config, network=detector.with_second_stage_of(config.network))


def started(config: TrainConfig, init: Path, imagenet: Path | None) -> MaskNet:
    """The network to train: what fits from the checkpoint `init`, else ImageNet's blocks, else chance."""
    network = MaskNet(config.network)
    if imagenet is not None and network.refiner is not None:
        load_mobilenet(network.refiner, imagenet)
    start_from(network, init)
    return network


def main() -> None:
    """Read the command line, train, export and report."""
    parser = argparse.ArgumentParser(
        prog="python -m maskwatch.training.refine", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("data", type=Path, nargs="+", help="COCO folders")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run folder")
    parser.add_argument("--recipe", type=Path, required=True, help="how it is trained, as JSON")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint of the detector")
    parser.add_argument(
        "--imagenet", type=Path, help="MobileNetV2's .weights.h5, for blocks that --init lacks"
    )
    parser.add_argument("--landmark-model", type=Path, help="YuNet as ONNX; finds where masks are drawn")
    parser.add_argument("--corrections", type=Path, help="JSON that mends labels")
    parser.add_argument("--version", default="1", help="the model card's version")
    given = parser.parse_args()
    try:
        paths = RunPaths(given.output)
        config = _of_detector(TrainConfig.from_file(given.recipe), given.init)
        maker, holdout = samples_for(
            given.data, paths, config, landmark_model=given.landmark_model, corrections=given.corrections
        )
        network = started(config, given.init, given.imagenet)
        train_refiner(config, maker, paths.folder, network, lambda words: print(words, flush=True))
        print(finish(Checkpoint.load(paths.folder / "last.pt"), holdout, paths, version=given.version))
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; the same command goes on\n")
    except MaskwatchError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()

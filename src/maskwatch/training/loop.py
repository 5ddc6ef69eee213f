"""The training loop of the detector, plain and from top to bottom."""

from __future__ import annotations

import copy
import csv
import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from maskwatch.errors import TrainingError
from maskwatch.training.backbones import MobileNetBackbone
from maskwatch.training.checkpoint import Checkpoint
from maskwatch.training.config import TrainConfig
from maskwatch.training.losses import Losses, detection_loss
from maskwatch.training.network import MaskNet, priors
from maskwatch.training.samples import Batch, Batches, SampleMaker
from maskwatch.training.teacher import taught

T = TypeVar("T")
LOG_EVERY_STEPS = 50
CURVE_COLUMNS = (
    "step",
    "learning_rate",
    "total",
    "box",
    "objectness",
    "label",
    "teacher",
    "positives",
    "step_s",
)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Progress:
    """What a run reports every `LOG_EVERY_STEPS` steps: means since the last report."""

    step: int
    steps: int
    learning_rate: float
    total: float
    box: float
    objectness: float
    label: float
    teacher: float
    positives: float
    step_s: float


class WeightAverage:
    """Exponential moving average of a network's weights and statistics (Polyak averaging)."""

    def __init__(self, network: MaskNet, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    def update(self, network: MaskNet, step: int) -> None:
        """Move towards `network`; early in a run faster, so that the start is soon forgotten."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own, other = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[n] for n in floats], [other[n] for n in floats], 1 - decay)


class ResumableRun:
    """A run that goes on from its last checkpoint, and writes one when due, at its end and when interrupted.

    Attributes:
        step: how many steps are done, those before the last checkpoint included.
    """

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        network: MaskNet,
        average: WeightAverage,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Load the checkpoint at `path`, where there is one, into the others.

        Raises:
            TrainingError: it does not fit.
        """
        self._path = path
        self._config = config
        self._network = network
        self._average = average
        self._optimizer = optimizer
        self.step = self._resume()
        self._saved = time.monotonic()

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._save()

    def save_when_due(self) -> None:
        """Write the checkpoint if the last one is older than `config.checkpoint_every_s`."""
        if time.monotonic() - self._saved > self._config.checkpoint_every_s:
            self._save()
            self._saved = time.monotonic()

    def _save(self) -> None:
        state = self._average.network.state_dict(), self._network.state_dict(), self._optimizer.state_dict()
        Checkpoint(self._config, self.step, *state).save(self._path)

    def _resume(self) -> int:
        if not self._path.is_file():
            return 0
        checkpoint = Checkpoint.load(self._path)
        if checkpoint.network is None or checkpoint.optimizer is None:
            raise TrainingError(f"{self._path}: a small checkpoint cannot be resumed; start from it instead")
        try:
            self._network.load_state_dict(checkpoint.network)
            self._average.network.load_state_dict(checkpoint.average)
            self._optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{self._path}: of another network ({error}); choose another folder"
            ) from error
        return checkpoint.step


def train(
    config: TrainConfig,
    maker: SampleMaker,
    run_dir: Path,
    *,
    start: Callable[[MaskNet], object] | None = None,
    teachers: Sequence[MaskNet] = (),
    report: Callable[[Progress], None] = lambda progress: None,
    evaluate: Callable[[MaskNet, int], None] = lambda network, step: None,
) -> MaskNet:
    """Train from `run_dir`'s last checkpoint, or from scratch, to `config.steps`; give the average.

    `start` initialises a fresh network (a warm start); `teachers`, perhaps of finer strides, too, are
    imitated beside the labels. `report` sees the losses now and then,
    `evaluate` the averaged network every `config.evaluate_every_steps`. Writes `last.pt` and
    `curves.csv` to `run_dir`.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint does not fit.
    """
    keep_freed_memory()
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = MaskNet(config.network)
    if start is not None:
        start(network)
    if isinstance(network.backbone, MobileNetBackbone) and config.frozen_blocks >= 0:
        network.backbone.freeze(config.frozen_blocks)
    network = _on(device, network)
    average = WeightAverage(network, config.ema_decay)
    optimizer = torch.optim.AdamW(parameter_groups(network, config, network.backbone), config.learning_rate)
    teachers = [_on(device, teacher).eval().requires_grad_(False) for teacher in teachers]
    run = ResumableRun(run_dir / "last.pt", config, network, average, optimizer)
    batches = iter(loader(Batches(maker, config, config.seed + run.step), config))
    recent: list[Losses] = []
    started = time.monotonic()
    with run:
        while run.step < config.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, run.step) * group["share"]
            losses = _step(network, optimizer, next(batches), config, device, teachers)
            if not torch.isfinite(losses.total):
                raise TrainingError(
                    f"the loss became {float(losses.total)} at step {run.step}; lower the learning rate "
                    f"({config.learning_rate:g}) and go on from {run_dir / 'last.pt'}"
                )
            average.update(network, run.step)
            recent.append(losses)
            run.step += 1
            if run.step % LOG_EVERY_STEPS == 0 or run.step == config.steps:
                now = time.monotonic()
                progress = _summarise(recent, run.step, config, (now - started) / len(recent))
                _append_curve(run_dir / "curves.csv", progress)
                report(progress)
                recent, started = [], now
            run.save_when_due()
            if run.step % config.evaluate_every_steps == 0 or run.step == config.steps:
                evaluate(average.network, run.step)
                started = time.monotonic()
    return average.network


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to `final_learning_rate_share`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    low = config.final_learning_rate_share
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: a training step on a CPU spends a quarter in page faults else."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return  # not glibc: nothing to tune


def mixed_precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Half the digits where `config` asks for bf16 and `device` reckons with it; else all of them.

    A processor without AVX-512 imitates bf16 convolutions, which took 20 times as long as fp32.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=config.precision == "bf16" and _has_bf16(device)
    )


def _has_bf16(device: torch.device) -> bool:
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bw")) or any(able[name] for name in able if name.endswith("bf16"))


def _on(device: torch.device, network: MaskNet) -> MaskNet:
    """The network moved to `device`, channels last: on a CPU that trains half as fast again."""
    moved: MaskNet = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _step(
    network: MaskNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
    device: torch.device,
    teachers: Sequence[MaskNet],
) -> Losses:
    """Forward, backward and one optimiser step."""
    batch = Batch(*(getattr(batch, name).to(device) for name in Batch.__dataclass_fields__))
    images = batch.images.flip(-1).permute(0, 3, 1, 2).float()  # RGB → BGR; already channels-last
    height, width = images.shape[2:]
    strides = config.network.strides
    with mixed_precision(config, device):
        outputs = network(images)
        wanted = taught(teachers, images, strides)
    prior = priors(height, width, strides).to(device)
    losses = detection_loss(outputs, batch, prior, config, wanted)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
    optimizer.step()
    return losses._replace(total=losses.total.detach())


def parameter_groups(
    module: nn.Module, config: TrainConfig, own_rate: nn.Module | None = None
) -> list[dict[str, object]]:
    """Weight decay for convolution weights alone, not for biases and norms.

    The parameters of `own_rate`, a part of `module`, learn at the configuration's `backbone_rate`.
    """
    groups = []
    inside = set() if own_rate is None else {id(parameter) for parameter in own_rate.parameters()}
    for is_inside, share in ((True, config.backbone_rate), (False, 1.0)):
        own = [p for p in module.parameters() if (id(p) in inside) == is_inside]
        for decays in (True, False):
            chosen = [parameter for parameter in own if (parameter.dim() > 1) == decays]
            decay = config.weight_decay if decays else 0.0
            groups.append({"params": chosen, "weight_decay": decay, "share": share})
    return groups


def loader(batches: IterableDataset[T], config: TrainConfig) -> DataLoader[T]:
    """Batches made by worker processes, a few ahead."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )


def _summarise(recent: list[Losses], step: int, config: TrainConfig, step_s: float) -> Progress:
    def mean(name: str) -> float:
        return sum(float(getattr(losses, name)) for losses in recent) / len(recent)

    return Progress(
        step=step,
        steps=config.steps,
        learning_rate=learning_rate(config, step - 1),
        step_s=step_s,
        **{name: mean(name) for name in ("total", "box", "objectness", "label", "teacher", "positives")},
    )


def _append_curve(path: Path, progress: Progress) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(CURVE_COLUMNS)
        writer.writerow([f"{getattr(progress, name):.6g}" for name in CURVE_COLUMNS])

"""What a training run can be told; a checkpoint carries it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from maskwatch.errors import OptionError
from maskwatch.files import LARGEST_SETTINGS_BYTES, read_json

LARGEST_STRIDE = 32
LARGEST_NUMBER = 1e12
YUNET_CHANNELS = 64
YUNET_STEM_CHANNELS = 16
MOBILENET_BLOCKS = 17
Assigner = Literal["simota", "task_aligned"]
ObjectnessLoss = Literal["cross_entropy", "quality_focal", "varifocal"]
LARGEST_NATIVE_PX = 640.0
"""Larger faces are left to the exported model's second look, at a quarter of the picture's sides."""


@dataclass(frozen=True)
class NetworkConfig:
    """Layout of the network; the defaults are the shipped model's.

    Attributes:
        name: what the model is called: "maskwatch-" and this.
        backbone: "yunet", which is shipped, or "mobilenet_v2", larger, to teach it.
        channels: width of neck and heads; YuNet's backbone asks for 64.
        stem_channels: width of YuNet's first two layers; a multiple of its 16.
        stride_4: a level for faces of 8 to 16 px.
        slim_channels: its width.
        context_blocks: residual blocks after the stages at strides 8, 16 and 32.
        wide_context: whether these are wide with a depthwise 5×5, or narrow with a dense 3×3.
        label_blocks: residual units in each level's label branch.
        refiner_blocks: inverted residuals of the second stage, which judges faces again; 0: none.
        refiner_features: width before its last layer.
        refiner_box_features: width before the layer by which it mends boxes; 0: they stay the detector's.
        near_margin: share of its sides by which the exported model makes a near face's box larger on each
            side, see `network.roomier`; what is learnt stays as labelled.
    """

    name: str = "small"
    backbone: Literal["yunet", "mobilenet_v2"] = "yunet"
    channels: int = 64
    stem_channels: int = YUNET_STEM_CHANNELS
    stride_4: bool = True
    slim_channels: int = 32
    context_blocks: tuple[int, int, int] = (1, 3, 3)
    wide_context: bool = True
    label_blocks: int = 1
    refiner_blocks: int = 0
    refiner_features: int = 256
    refiner_box_features: int = 0
    near_margin: float = 0.0

    def __post_init__(self) -> None:
        _check_words(self, "network.")
        if self.backbone == "yunet" and self.channels != YUNET_CHANNELS:
            raise OptionError(f"network.channels must be {YUNET_CHANNELS} with the backbone yunet")
        if self.stem_channels < 1 or self.stem_channels % YUNET_STEM_CHANNELS:
            raise OptionError(
                f"network.stem_channels is a multiple of {YUNET_STEM_CHANNELS}, not {self.stem_channels}"
            )
        if not 0 <= self.refiner_blocks <= MOBILENET_BLOCKS:
            raise OptionError(
                f"network.refiner_blocks lies between 0 and {MOBILENET_BLOCKS}, not at {self.refiner_blocks}"
            )
        for name, least in (("refiner_features", 1), ("refiner_box_features", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"network.{name} is {least} or more, not {getattr(self, name)}")
        if not 0 <= self.near_margin <= 1:
            raise OptionError(f"network.near_margin is a share, 0 to 1, not {self.near_margin}")

    def with_second_stage_of(self, other: NetworkConfig) -> NetworkConfig:
        """This detector, and the second stage of another layout."""
        return dataclasses.replace(
            self,
            refiner_blocks=other.refiner_blocks,
            refiner_features=other.refiner_features,
            refiner_box_features=other.refiner_box_features,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of the levels, finest first."""
        return (4, 8, 16, 32) if self.stride_4 else (8, 16, 32)


@dataclass(frozen=True)
class AugmentConfig:
    """How a training sample is made from labelled pictures; shares are of samples or of faces."""

    grid_shares: tuple[float, ...] = (0.55, 0.25, 0.12, 0.08)
    """Shares of samples made of 1×1, 2×2, 3×3, 4×4 pictures."""
    native_share: float = 0.3
    """Share of pictures shown near their own resolution; the others aim one face at a random size."""
    smallest_face_px: float = 8.0
    zoomed_share: float = 0.05
    """Share of 1×1 samples that show a part of a face of more than `LARGEST_NATIVE_PX`, as background."""
    surround_share: float = 0.0
    """Share of pictures that show what is around a face as if from very near, as a selfie does."""
    masked_crowd_share: float = 0.3
    """Share of samples in which most unmasked faces get a drawn mask."""
    drawn_mask_share: float = 0.12
    """Share of unmasked faces that get one in the other samples."""
    worn_wrong_share: float = 0.28
    """Share of drawn masks that sit under the nose or on the chin."""
    real_cloth_share: float = 0.0
    """Share of drawn masks that are made of a real one's cloth, from another training picture."""
    occluder_share: float = 0.12
    """Share of unmasked faces that get a hand, a cup, a beard or the like."""
    gear_share: float = 0.0
    """Share of faces, masked ones included, that get goggles, a shield, a cap, a helmet or the like."""
    guard_share: float = 0.0
    """Share of those that wear a sports helmet's bars, a net or a chin bar, whatever else would be drawn."""
    dark_skin_share: float = 0.0
    """Share of faces whose skin is darkened."""
    tilt_share: float = 0.3
    """Share of pictures that are tilted."""
    tilt_deg: float = 8.0
    """Standard deviation of a tilt."""
    quarter_turn_share: float = 0.0
    """Share of samples turned by 90, 180 or 270°, as a telephone held sideways or upside down turns them."""
    strength: float = 1.0
    """Scales the chance of every photometric change; 0 switches them off."""
    odd_colour_share: float = 0.0
    """Share of samples whose colours tell little: coloured lamps, grey, turned hues, burnt out."""
    odd_colour_least_px: float = 0.0
    """Samples with a smaller face keep their colours, as these are most of what tells if it is bare."""
    squeeze_deviation: float = 0.06
    """Standard deviation of the logarithm of a picture's squeeze; 16:9 made square is squeezed by 0.29."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run of the detector.

    Attributes:
        steps: optimiser steps of the whole run.
        pixels_per_step: budget of a batch; the batch size follows from the sample's side.
        sides: sides of the square samples in px, one drawn for each batch.
        side_shares: how often each of `sides` is drawn.
        set_weights: how often pictures of a data set are drawn, relative to 1.
        loose_sets: data sets whose boxes hold the whole head; see `prepare`.
        loose_share: how much of their labelled boxes is learnt: 0, the tight box in them; 1, as labelled.
        backbone_rate: learning rate of the backbone, relative to the rest; for ImageNet's weights.
        frozen_blocks: how many blocks of MobileNetV2 stay as they are, and with them its first layer and the
            statistics of all its norms; -1: all of it learns. 2 halve the time of a step on a CPU.
        assigner: which cells learn a face: "simota" (Ge et al. 2021) or "task_aligned" (Feng et al. 2021).
        objectness_loss: "cross_entropy" with 1 where a face is learnt; "quality_focal" (Li et al. 2020) and
            "varifocal" (Zhang et al. 2021) with the box's IoU there, and less weight on what is easy.
        teacher_loss_weight: how much a teacher's answers count beside the labels, if there is one.
        crops_per_step: faces and what is none in a batch of the second stage's training.
        label_smoothing: share of the second stage's target that all its classes have alike.
        holdout_share: share of pictures kept out of training, for curves and calibration.
        precision: "bf16" takes half the digits, and less time, where the machine can; else as "fp32".
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    steps: int = 20_000
    pixels_per_step: int = 16 * 256 * 256
    sides: tuple[int, ...] = (192, 256, 320, 448, 640)
    side_shares: tuple[float, ...] = (0.15, 0.4, 0.25, 0.12, 0.08)
    set_weights: dict[str, float] = field(default_factory=dict)
    wrong_weight: float = 3.0
    """How much oftener pictures with a mask_worn_incorrectly face are drawn."""
    loose_sets: tuple[str, ...] = ()
    loose_share: float = 0.0
    holdout_share: float = 0.04
    learning_rate: float = 2e-3
    backbone_rate: float = 1.0
    frozen_blocks: int = -1
    warmup_steps: int = 500
    final_learning_rate_share: float = 0.02
    weight_decay: float = 0.02
    box_loss_weight: float = 5.0
    label_loss_weight: float = 1.0
    objectness_loss_weight: float = 1.0
    assigner: Assigner = "simota"
    objectness_loss: ObjectnessLoss = "cross_entropy"
    teacher_loss_weight: float = 1.0
    crops_per_step: int = 128
    label_smoothing: float = 0.05
    gradient_norm: float = 10.0
    ema_decay: float = 0.9995
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every_s: float = 300.0
    evaluate_every_steps: int = 2_000
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"steps must be at least 1, not {self.steps}")
        _check_words(self, "")
        if len(self.sides) != len(self.side_shares) or not self.sides:
            raise OptionError("sides and side_shares must be lists of the same length")
        if self.frozen_blocks >= 0 and self.network.backbone != "mobilenet_v2":
            raise OptionError("frozen_blocks asks for network.backbone mobilenet_v2")
        if not -1 <= self.frozen_blocks <= MOBILENET_BLOCKS:
            raise OptionError(
                f"frozen_blocks lies between -1 and {MOBILENET_BLOCKS}, not at {self.frozen_blocks}"
            )
        wrong = [side for side in self.sides if side % LARGEST_STRIDE]
        if wrong:
            raise OptionError(f"sides {wrong} are no multiples of stride {LARGEST_STRIDE}")

    def to_json(self) -> str:
        """The whole configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Build from a (partial) dict as `to_json` writes it.

        Raises:
            OptionError: a key is unknown.
        """
        values = dict(values)
        for name, kind in (("network", NetworkConfig), ("augment", AugmentConfig)):
            if name in values:
                values[name] = _from_dict(kind, values[name], f"{name}.")
        config: TrainConfig = _from_dict(cls, values, "")
        return config

    @classmethod
    def from_file(cls, path: Path) -> TrainConfig:
        """Read a (partial) JSON file.

        Raises:
            OptionError: it cannot be read, or a key is unknown.
        """
        try:
            values = read_json(path, LARGEST_SETTINGS_BYTES)
        except (OSError, ValueError) as error:
            raise OptionError(f"{path}: no configuration in JSON ({error}); check it") from error
        if not isinstance(values, dict):
            raise OptionError(f"{path}: a configuration is a JSON object of names and values")
        return cls.from_dict(values)


def _from_dict(kind: type[Any], values: Any, prefix: str) -> Any:
    if isinstance(values, kind):
        return values
    if not isinstance(values, dict):
        raise OptionError(f"training option {prefix.rstrip('.')} holds names and values, not {values!r}")
    known = {entry.name for entry in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        names = ", ".join(prefix + name for name in unknown)
        raise OptionError(f"unknown training option {names}; known are {', '.join(sorted(known))}")
    usual = kind()
    for name, value in values.items():
        if not _is_like(value, getattr(usual, name)):
            raise OptionError(f"training option {prefix}{name} cannot be {value!r}; see configs/README.md")
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return kind(**listed)


def _check_words(options: Any, prefix: str) -> None:
    """Each option of type Literal holds one of its words."""
    for name, kind in get_type_hints(type(options)).items():
        known = get_args(kind) if get_origin(kind) is Literal else ()
        if known and getattr(options, name) not in known:
            raise OptionError(f"{prefix}{name} is {' or '.join(known)}, not {getattr(options, name)!r}")


def _is_like(value: Any, usual: Any) -> bool:
    """Whether a value from a file is of the default's type, and all numbers in it can be reckoned with."""
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(usual, bool) and isinstance(value, bool)
    if isinstance(usual, int | float):
        kinds = (int, float) if isinstance(usual, float) else int
        return isinstance(value, kinds) and abs(value) < LARGEST_NUMBER
    if isinstance(usual, tuple):
        parts = usual or ("",)
        return isinstance(value, list | tuple) and all(_is_like(one, parts[0]) for one in value)
    if isinstance(usual, dict):
        return isinstance(value, dict) and all(_is_like(one, 1.0) for one in value.values())
    return isinstance(value, type(usual))

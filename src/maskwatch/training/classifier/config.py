"""All choices of one classifier run; the defaults are the tutorial's."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from maskwatch.errors import OptionError


@dataclass(frozen=True)
class ClassifierConfig:
    """Options of a run.

    Attributes:
        epochs, batch_size, learning_rate: of the head; the rate falls as rate / (1 + steps · rate / epochs).
        test_share, seed: of the stratified split.
        keep_alike_together: near-duplicates stay on one side of the split.
        size_px: side of the pictures the network sees.
        alpha: width of MobileNetV2.
        dense_units, dropout: the head.
        augment: whether pictures are varied at all; without, features are computed once and kept.
        rotation_deg, zoom, shift, shear, flip: how far; shares of the side, shear as a tangent.
        balance: weigh classes so that each counts the same.
        patience: stop after so many epochs without a better validation loss, 0: never. Then a tenth
            of the training part is kept for validation; else the curves show the test part.
        fine_tune_blocks, fine_tune_epochs, fine_tune_rate: afterwards, the last blocks learn too.

    Raises:
        OptionError: a value cannot work.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-4
    test_share: float = 0.2
    seed: int = 42
    keep_alike_together: bool = True
    size_px: int = 224
    alpha: float = 1.0
    dense_units: int = 128
    dropout: float = 0.5
    augment: bool = True
    rotation_deg: float = 20.0
    zoom: float = 0.15
    shift: float = 0.2
    shear: float = 0.15
    flip: bool = True
    balance: bool = False
    patience: int = 0
    fine_tune_blocks: int = 0
    fine_tune_epochs: int = 5
    fine_tune_rate: float = 1e-5

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("size_px", 32), ("dense_units", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.size_px % 32:
            raise OptionError(f"size_px must be a multiple of 32, not {self.size_px}; take 224")
        if not 0 < self.test_share < 1 or not 0 <= self.dropout < 1:
            raise OptionError("test_share and dropout must lie between 0 and 1")
        if self.learning_rate <= 0 or self.fine_tune_rate <= 0:
            raise OptionError("learning rates must be above 0")
        if not 0 <= self.fine_tune_blocks <= 17:
            raise OptionError(f"MobileNetV2 has 17 blocks to fine-tune, not {self.fine_tune_blocks}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_dict(), indent=1)

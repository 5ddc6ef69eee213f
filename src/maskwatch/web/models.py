"""Which detectors a browser may load, and all it must know of each: no constant stands in its own code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwatch import boxes, closer, turns
from maskwatch.codec import LARGE_FACE_PX
from maskwatch.detector import DEFAULT_MODEL, DetectOptions, Detector, packaged_models, read_model
from maskwatch.labels import VERDICTS
from maskwatch.model_card import ModelCard

INDEX = "index.json"


@dataclass(frozen=True, eq=False)
class OfferedModel:
    """One detector file: its name in addresses, its bytes and its card."""

    file: str
    data: bytes
    card: ModelCard

    def to_dict(self) -> dict[str, Any]:
        """The card for a browser: the model's own, how boxes are judged, and where the file is."""
        return {**card_for_browsers(self.card), "file": self.file, "bytes": len(self.data)}


class OfferedModels:
    """Detectors in the order in which they are offered; the first is the default.

    Raises:
        ModelError: a file is no detector of ours.
    """

    def __init__(self, models: Sequence[str | Path] = ()) -> None:
        """Files, or names of `packaged_models`; all in the package where none is named."""
        self._models: dict[str, OfferedModel] = {}
        for model in models or _packaged():
            path, data = read_model(model)
            stem = Path(path).stem
            name, number = f"{stem}.onnx", 2
            while name in self._models:
                name, number = f"{stem}-{number}.onnx", number + 1
            self._models[name] = OfferedModel(name, data, Detector(model).card)

    def __iter__(self) -> Iterator[OfferedModel]:
        return iter(self._models.values())

    def index(self) -> bytes:
        """All cards, as JSON."""
        return json.dumps({"models": [one.to_dict() for one in self._models.values()]}, indent=1).encode()

    def content(self, name: str) -> bytes | None:
        """The index or a model by its name in an address; None for any other."""
        if name == INDEX:
            return self.index()
        model = self._models.get(name)
        return None if model is None else model.data


def card_for_browsers(card: ModelCard) -> dict[str, Any]:
    """The model's card, and the agreements that `codec.py` and the browser's codec.js share."""
    return {
        **dataclasses.asdict(card),
        "verdicts": list(VERDICTS),
        "max_side": closer.FIRST_SIDE,
        "closer_side": closer.CLOSER_SIDE,
        "closer_px": closer.SMALL_PX,
        "closer_scale": closer.LEAST_SCALE,
        "max_detections": DetectOptions.max_detections,
        "large_face_px": LARGE_FACE_PX,
        "part_covered": boxes.PART_COVERED,
        "part_least": boxes.PART_LEAST,
        "part_most": boxes.PART_MOST,
        "upright_score": turns.SURE_SCORE,
        "glance_side": turns.GLANCE_SIDE,
        "turned_score": turns.LEAST_SCORE,
        "turned_gain": turns.LEAST_GAIN,
    }


def _packaged() -> list[str]:
    """The detectors in the package, the default one first."""
    return sorted(packaged_models(), key=lambda name: (name != DEFAULT_MODEL, name))

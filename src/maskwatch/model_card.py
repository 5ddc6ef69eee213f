"""`ModelCard`: what a model file says of itself. No constant of the network stands anywhere else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from maskwatch.errors import ModelError
from maskwatch.labels import LABELS

FORMAT = 1
"""Number of the agreement on inputs, outputs and metadata that this version of maskwatch reads."""


@dataclass(frozen=True)
class ModelCard:
    """The metadata of one detector file.

    Attributes:
        name: short name of the model, for example "maskwatch-small".
        version: of the model, not of the package.
        labels: the network's labels, in order.
        strides: pixels per cell of its levels.
        size_multiple: pictures are padded to a multiple of this many px.
        score_threshold: default for faces reported.
        iou_threshold: default for suppression.
        certainty_threshold: a label below this share of the label scores is `uncertain`.
        target_error: share of wrong labels among the sure ones that this threshold was chosen for; 0: none.
        calibrated_on: number of held-out detections the scores were calibrated on; 0: they were not.
        parameters: number of trained values.
        trained_on: data sets, and what their licences ask.
        license: SPDX name of the weights' licence.
        credits: whose work it builds on.
        commit: revision of maskwatch that exported it, or "".
        sha256: digest of the file it was read from, "" for a card that was never in a file.

    Examples:
        >>> from maskwatch import Detector
        >>> card = Detector().card
        >>> card.name, card.labels
        ('maskwatch-small', ('with_mask', 'without_mask', 'mask_worn_incorrectly'))
    """

    name: str
    version: str
    labels: tuple[str, ...]
    strides: tuple[int, ...]
    size_multiple: int
    score_threshold: float
    iou_threshold: float
    certainty_threshold: float
    parameters: int
    trained_on: str
    license: str
    credits: str
    target_error: float = 0.0
    calibrated_on: int = 0
    commit: str = ""
    sha256: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Strings for an ONNX file's metadata_props; the digest stays out, as it covers them."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        del values["sha256"]
        return {
            f"maskwatch.{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in values.items()
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str, sha256: str = "") -> ModelCard:
        """Read what `to_metadata` wrote; `source` names the file in errors.

        Raises:
            ModelError: the metadata is missing, of another format, or of other labels.
        """
        if "maskwatch.format" not in metadata:
            raise ModelError(
                f"{source}: no maskwatch model (its metadata card is missing); export it with "
                "`maskwatch train-detector`"
            )
        if metadata["maskwatch.format"] != str(FORMAT):
            raise ModelError(
                f"{source}: model format {metadata['maskwatch.format']}, but this maskwatch reads "
                f"{FORMAT}; install the version it was made with"
            )
        try:
            values = {
                key: _read(metadata[f"maskwatch.{key}"], kind)
                for key, kind in _kinds().items()
                if f"maskwatch.{key}" in metadata or key not in _OPTIONAL
            }
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{source}: its metadata card is damaged ({error}); export it again") from error
        card = cls(**values, sha256=sha256)
        if card.labels != LABELS:
            raise ModelError(f"{source}: labels {card.labels}, but maskwatch knows {LABELS}; retrain it")
        return card


_OPTIONAL = {
    field.name for field in dataclasses.fields(ModelCard) if field.default is not dataclasses.MISSING
}


def _kinds() -> dict[str, Any]:
    kinds = get_type_hints(ModelCard)
    del kinds["sha256"]
    return kinds


def _read(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else kind(value)

"""`ClassifierCard`: what a classifier file says of itself; `StagesCard`: two models as one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from maskwatch.errors import ModelError, OptionError
from maskwatch.labels import LABELS

FORMAT = 1
"""Number of the agreement on inputs, outputs and metadata that this version of maskwatch reads."""
DEFAULT_MARGIN = 0.3
"""How far crops reach beyond a face's box; why: docs/experiments-classifier.md."""


@dataclass(frozen=True)
class ClassifierCard:
    """The metadata of one classifier of face crops.

    Attributes:
        name: short name, for example "mask_detector".
        classes: the classes of its outputs, in order, as their folders were called.
        labels: for each class the one of `maskwatch.LABELS` that it means, or "" for none.
        size_wh: width and height of the crops in px; the ratio of their sides is not kept.
        margin: the crop is the face's box grown by this share of its size on every side.
        certainty_threshold: a label with a smaller share is `uncertain`.
        parameters: number of trained values.
        trained_on: data and how it was split, in words.
        accuracy: on the test part, or None where nobody measured it.
        license: SPDX name of the weights' licence, or what is known of it.
        commit: revision of maskwatch that exported it, or "".
        sha256: digest of the file it was read from, "" for a card that was never in a file.

    Raises:
        OptionError: classes and labels do not fit together.

    Examples:
        >>> from maskwatch import ClassifierCard
        >>> labels = ("with_mask", "without_mask")
        >>> card = ClassifierCard("mine", ("n95", "bare"), labels, size_wh=(224, 224), margin=0.3)
        >>> card.labels[card.classes.index("n95")]
        'with_mask'
    """

    name: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    size_wh: tuple[int, int]
    margin: float
    certainty_threshold: float = 0.6
    parameters: int = 0
    trained_on: str = ""
    accuracy: float | None = None
    license: str = ""
    commit: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.labels) or len(self.classes) < 2:
            raise OptionError(
                f"{len(self.classes)} classes and {len(self.labels)} labels; give each class one"
            )
        unknown = sorted({label for label in self.labels if label and label not in LABELS})
        if unknown:
            raise OptionError(f"{', '.join(unknown)}: no label; choose among {', '.join(LABELS)}")

    def to_metadata(self) -> dict[str, str]:
        """Strings for an ONNX file's metadata_props; the digest stays out, as it covers them."""
        values = {"format": FORMAT, "kind": "classifier", **dataclasses.asdict(self)}
        del values["sha256"]
        return {f"maskwatch.{key}": json.dumps(value) for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str, sha256: str = "") -> ClassifierCard:
        """Read what `to_metadata` wrote; `source` names the file in errors.

        Raises:
            ModelError: the metadata is missing, damaged, or that of another kind of model.
        """
        if metadata.get("maskwatch.kind") != '"classifier"':
            raise ModelError(
                f"{source}: no maskwatch classifier (its metadata card is missing); make one with "
                "`maskwatch train` or `maskwatch export`"
            )
        if metadata.get("maskwatch.format") != str(FORMAT):
            raise ModelError(
                f"{source}: classifier format {metadata.get('maskwatch.format')}, but this maskwatch "
                f"reads {FORMAT}; export it again"
            )
        try:
            names = [field.name for field in dataclasses.fields(cls) if field.name != "sha256"]
            values = {name: json.loads(metadata[f"maskwatch.{name}"]) for name in names}
            values = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
            return cls(**values, sha256=sha256)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{source}: its metadata card is damaged ({error}); export it again") from error


@dataclass(frozen=True)
class StagesCard:
    """What results are signed with when one model found the faces and another judged them.

    Attributes:
        name, sha256: of both models, joined by " + ".
        version: of the first stage's model.
        score_threshold: of the first stage.
    """

    name: str
    version: str
    sha256: str
    score_threshold: float

"""What a batch can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskwatch.errors import OptionError


@dataclass(frozen=True)
class BatchOptions:
    """What is done with every picture, and how parts are cut; all of it changes the output.

    Attributes:
        model: detector file, None for the packaged one; the same on every node.
        classifier, face_detector: a second stage, and another first one, as on `maskwatch image`.
        score_threshold: faces below it are left out; None for the model's own.
        max_side: larger pictures are scaled down to this many px; None: as `DetectOptions` has it.
        turned: look at pictures without a sure face turned, too.
        annotated: write a copy of each picture with its faces drawn in.
        blur: make the faces in the copies unrecognisable (implies copies).
        part_size: pictures in a part; what a dead worker costs at most.

    Raises:
        OptionError: a value is out of range.
    """

    model: Path | None = None
    classifier: Path | None = None
    face_detector: Path | None = None
    score_threshold: float | None = None
    max_side: int | None = None
    turned: bool = True
    annotated: bool = False
    blur: bool = False
    part_size: int = 500

    def __post_init__(self) -> None:
        if self.part_size < 1:
            raise OptionError(f"part_size must be at least 1, not {self.part_size}")

    @property
    def copies(self) -> bool:
        """Whether copies of the pictures are written."""
        return self.annotated or self.blur


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know; travels to other processes and nodes.

    Attributes:
        inputs: as the user named them, secrets included; never written down.
        output: folder or address of the results.
        options: what is done with every picture.
        model_sha256: digest of the model that the job began with.
    """

    inputs: tuple[str, ...]
    output: str
    options: BatchOptions
    model_sha256: str

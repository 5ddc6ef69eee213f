"""Counts over many detections, and compliance: what an operator reads first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskwatch.detections import Detections
from maskwatch.labels import MASK_WORN_INCORRECTLY, UNCERTAIN, VERDICTS, WITH_MASK, WITHOUT_MASK


@dataclass(frozen=True)
class Summary:
    """How many pictures, faces and verdicts; add detections to get the next value.

    Examples:
        >>> from maskwatch import Detector, Summary
        >>> summary = Summary().add(Detector().detect("people.jpg"))
        >>> print(summary)
        1 images, 4 faces: 2 with mask, 1 without, 1 worn wrong, 0 uncertain; compliance 50.0%
        >>> summary.compliance
        0.5
    """

    images: int = 0
    failed: int = 0
    faces: int = 0
    with_mask: int = 0
    without_mask: int = 0
    mask_worn_incorrectly: int = 0
    uncertain: int = 0

    def add(self, detections: Detections) -> Summary:
        """The summary with one more picture."""
        verdict = detections.verdict
        return replace(
            self,
            images=self.images + 1,
            faces=self.faces + len(detections),
            with_mask=self.with_mask + int((verdict == WITH_MASK).sum()),
            without_mask=self.without_mask + int((verdict == WITHOUT_MASK).sum()),
            mask_worn_incorrectly=self.mask_worn_incorrectly + int((verdict == MASK_WORN_INCORRECTLY).sum()),
            uncertain=self.uncertain + int((verdict == UNCERTAIN).sum()),
        )

    def add_failure(self) -> Summary:
        """The summary with one more picture that could not be read."""
        return replace(self, images=self.images + 1, failed=self.failed + 1)

    @property
    def counts(self) -> dict[str, int]:
        """Faces ("people") and how many have each verdict."""
        verdicts = {name: int(getattr(self, name)) for name in VERDICTS}
        return {"people": self.faces, **verdicts}

    @property
    def compliance(self) -> float | None:
        """Share of the faces with a sure verdict that wear a mask right, None without such a face."""
        sure = self.faces - self.uncertain
        return self.with_mask / sure if sure else None

    def to_dict(self) -> dict[str, int | float | None]:
        """Plain values for JSON; compliance as a share, or None."""
        return {
            "images": self.images,
            "failed": self.failed,
            "faces": self.faces,
            "with_mask": self.with_mask,
            "without_mask": self.without_mask,
            "mask_worn_incorrectly": self.mask_worn_incorrectly,
            "uncertain": self.uncertain,
            "compliance": None if self.compliance is None else round(self.compliance, 4),
        }

    def __str__(self) -> str:
        compliance = "–" if self.compliance is None else f"{self.compliance:.1%}"
        failed = f" ({self.failed} unreadable)" if self.failed else ""
        return (
            f"{self.images} images{failed}, {self.faces} faces: {self.with_mask} with mask, "
            f"{self.without_mask} without, {self.mask_worn_incorrectly} worn wrong, "
            f"{self.uncertain} uncertain; compliance {compliance}"
        )

"""The labelled photos that models are measured on, by how their boxes were drawn."""

from __future__ import annotations

from pathlib import Path

from maskwatch.datasets import LabelledImage, read_coco

TIGHT_SETS = ("aizoo", "kaggle853")
LOOSE_SETS = ("ditface3k", "mawear")
LOOSE_IOU = 0.3


def tight_photos(shared: Path, split: str = "val") -> list[LabelledImage]:
    """The labelled photos of `split` whose boxes are tight: those that the main figure is of."""
    return [image for image in read_coco(shared / "data" / split) if image.set_name in TIGHT_SETS]

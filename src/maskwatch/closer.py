"""Large photos: which one is worth a look from closer, as small faces were lost when it was scaled down.

A photo of twelve megapixels of a crowd and one of a single face cost the same at first. Where the first look
finds a small face, or none, others may have become too small to be seen, so that the photo is looked at with
twice the side. What that brings: docs/experiments.md, "Large photos".
"""

from __future__ import annotations

from maskwatch.codec import Letterboxed
from maskwatch.detections import Detections

FIRST_SIDE = 1024
"""Longer side in px at which a photo is looked at first, unless a side is asked for."""
CLOSER_SIDE = 2 * FIRST_SIDE
"""Longer side of the second look, at most."""
SMALL_PX = 32
"""Size of a small face in px, as the first look saw it."""
LEAST_SCALE = 1.1
"""A photo that was scaled down by less has nothing more to show."""


def is_worth_it(one: Letterboxed, faces: Detections, score_threshold: float) -> bool:
    """Whether a photo should be looked at from closer, by the `faces` of its first look at `one`.

    Only those of at least `score_threshold` are asked.
    """
    scale = max(one.size_wh) / max(one.content_wh)
    if scale < LEAST_SCALE:
        return False
    sizes = faces.size[faces.score >= score_threshold] / scale
    return len(sizes) == 0 or bool(sizes.min() < SMALL_PX)

"""Photos that lie on their side or stand on their head, as cameras without an EXIF mark leave them.

The network is surest of upright faces. So a photo without a sure face is glanced at in the other three ways,
small and quickly; where one of these shows a face better, the photo is looked at that way in full, and judged
so if that still holds: a blurred face may be surer for being small. Boxes come back in the photo's own
pixels. All numbers were chosen on photos kept out of training (docs/experiments.md, "Photos on their side").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskwatch import boxes
from maskwatch.codec import Letterboxed, Picture, letterbox
from maskwatch.detections import Detections

SURE_SCORE = 0.96
"""With a face of this score, a photo counts as upright."""
GLANCE_SIDE = 256
"""Longer side in px at which the turned photo is glanced at."""
LEAST_SCORE = 0.8
"""Below this score, no face says that a photo is turned."""
LEAST_GAIN = 0.7
"""By so much the face of the turned photo must be surer, in log-odds."""
OTHER_WAYS = (1, 2, 3)
"""Quarter turns against the clock."""


def best_score(faces: Detections) -> float:
    """Of the surest face, 0 without one."""
    return float(faces.score.max(initial=0.0))


def better_way(shown: float, glances: Sequence[float]) -> int:
    """In how many quarter turns a photo shows its faces best; 0: as it is.

    `shown` is the best score of the photo as it is, `glances` are those of `OTHER_WAYS`.
    """
    way = max(range(len(glances)), key=glances.__getitem__)
    return OTHER_WAYS[way] if is_better(glances[way], shown) else 0


def is_better(turned_score: float, shown: float) -> bool:
    """Whether a turned photo's surest face is so much surer than that of the photo as it is."""
    return turned_score >= LEAST_SCORE and _log_odds(turned_score) - _log_odds(shown) >= LEAST_GAIN


def turned(
    one: Letterboxed, quarters: int, *, size_multiple: int, max_side: int | None = None
) -> Letterboxed:
    """The picture, turned by `quarters` against the clock; at most `max_side` px, if that is smaller."""
    width, height = one.content_wh
    image = np.ascontiguousarray(np.rot90(one.pixels[:height, :width], quarters))
    size_wh = one.size_wh if quarters % 2 == 0 else one.size_wh[::-1]
    own_side = max(one.content_wh)
    side = own_side if max_side is None else min(max_side, own_side)
    return letterbox(Picture(image, size_wh, "turned"), max_side=side, size_multiple=size_multiple)


def turned_back(faces: Detections, quarters: int, size_wh: tuple[int, int]) -> Detections:
    """Faces of a picture turned by `quarters`, in pixels of the picture as it is, of `size_wh` px."""
    width, height = size_wh
    back = np.array(
        {
            0: [[1, 0, 0], [0, 1, 0]],
            1: [[0, -1, width], [1, 0, 0]],
            2: [[-1, 0, width], [0, -1, height]],
            3: [[0, 1, 0], [-1, 0, height]],
        }[quarters % 4]
    )
    return replace(faces, xyxy=boxes.clip(boxes.warped(faces.xyxy, back), size_wh))


def _log_odds(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))

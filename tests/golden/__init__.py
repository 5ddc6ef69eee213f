"""What the shipped model answers on pictures that anyone can draw again.

`python -m tests.golden` writes `answers.json` anew, after a new model was put into the package. The
file also serves the browser's tests, so that both run times are held to the same answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from skimage import data

from maskwatch import Detector
from maskwatch.frames import Image
from maskwatch.synthesis import MASK_KINDS, draw_mask

ANSWERS = Path(__file__).with_name("answers.json")
LANDMARKS = np.array(
    [[200.1, 101.8], [247.1, 102.6], [220.4, 124.5], [198.6, 142.8], [239.7, 143.6]], np.float32
)
"""(5, 2) px of the astronaut's face, as YuNet gave them."""


def pictures() -> dict[str, Image]:
    """The public-domain astronaut: bare, small, huge, and with every kind of mask."""
    bare = np.array(data.astronaut())
    drawn = {kind: draw_mask(bare, LANDMARKS, kind=kind, rng=np.random.default_rng(1)) for kind in MASK_KINDS}
    return {
        "bare": bare,
        "quarter": np.ascontiguousarray(bare[::4, ::4]),
        "close": np.ascontiguousarray(bare[30:210, 130:310].repeat(4, axis=0).repeat(4, axis=1)),
        **drawn,
    }


def answers() -> dict[str, Any]:
    """Boxes and scores of the shipped model, and which file that was."""
    detector = Detector()
    found = {name: detector.detect(picture) for name, picture in pictures().items()}
    return {
        "sha256": detector.card.sha256,
        "pictures": {
            name: {
                "xyxy": faces.xyxy.astype(float).round(2).tolist(),
                "label_scores": faces.label_scores.astype(float).round(4).tolist(),
            }
            for name, faces in found.items()
        },
    }

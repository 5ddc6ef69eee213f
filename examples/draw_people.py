"""Draw the example picture: one public-domain portrait, bare and with three masks drawn on it.

Needs scikit-image for the portrait (NASA's Eileen Collins): pip install scikit-image
"""

import sys
from pathlib import Path

import numpy as np
from skimage import data

from maskwatch.codec import encode_image
from maskwatch.synthesis import draw_mask

LANDMARKS = np.array([[200.1, 101.8], [247.1, 102.6], [220.4, 124.5], [198.6, 142.8], [239.7, 143.6]])
MASKS = [("surgical", "over_nose", 3), ("black", "over_nose", 8), ("ffp2", "under_nose", 1)]


def people() -> np.ndarray:
    """(320, 1360, 3) RGB: four portraits side by side, every second one mirrored."""
    portrait = np.array(data.astronaut())
    portraits = [portrait]
    for kind, wear, seed in MASKS:
        rng = np.random.default_rng(seed)
        portraits.append(draw_mask(portrait, LANDMARKS, kind=kind, wear=wear, rng=rng))
    crops = [one[10:330, 55:395, :] for one in portraits]
    return np.concatenate([crops[0], crops[1][:, ::-1], crops[2], crops[3][:, ::-1]], axis=1)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/people.jpg")
    target.write_bytes(encode_image(people(), target.suffix))

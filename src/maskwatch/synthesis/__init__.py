"""Draw masks, and things that are no masks, on unmasked faces.

The tutorial's data set was made this way; here it teaches the detector small masked faces in
crowds, masks worn wrong, and what hides a mouth without being a mask. A face is given by five
landmarks as YuNet and RetinaFace order them: right eye, left eye, nose tip, right and left mouth
corner, "right" being the person's own.

All drawing happens in the face's own frame (u, v): u runs from eye to eye (−0.5 to 0.5), v from the
eyes (0) to the mouth (1); a head turned aside shifts what lies near the nose along u.
"""

from maskwatch.synthesis.cloth import Cloth
from maskwatch.synthesis.geometry import canonical_landmarks
from maskwatch.synthesis.masks import (
    LABEL_OF_WEAR,
    LOWER_OF_WEAR,
    MASK_KINDS,
    WEARS,
    MaskKind,
    Wear,
    draw_mask,
)
from maskwatch.synthesis.occluders import OCCLUDER_KINDS, OccluderKind, draw_occluder

__all__ = [
    "LABEL_OF_WEAR",
    "LOWER_OF_WEAR",
    "MASK_KINDS",
    "OCCLUDER_KINDS",
    "WEARS",
    "Cloth",
    "MaskKind",
    "OccluderKind",
    "Wear",
    "canonical_landmarks",
    "draw_mask",
    "draw_occluder",
]

"""Draw masks, things that are no masks, and what else is worn on a head; darken skin.

The tutorial's data set was made this way; here it teaches the detector small masked faces in
crowds, masks worn wrong, and what hides a mouth without being a mask. A face is given by five
landmarks as YuNet and RetinaFace order them: right eye, left eye, nose tip, right and left mouth
corner, "right" being the person's own.

All drawing happens in the face's own frame (u, v): u runs from eye to eye (−0.5 to 0.5), v from the
eyes (0) to the mouth (1); a head turned aside shifts what lies near the nose along u.
"""

from maskwatch.synthesis.cloth import Cloth
from maskwatch.synthesis.gear import (
    EYEWEAR_KINDS,
    GEAR_KINDS,
    HEAD_REACH,
    HEADWEAR_KINDS,
    GearKind,
    draw_gear,
)
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
from maskwatch.synthesis.skin import darken_skin

__all__ = [
    "EYEWEAR_KINDS",
    "GEAR_KINDS",
    "HEADWEAR_KINDS",
    "HEAD_REACH",
    "LABEL_OF_WEAR",
    "LOWER_OF_WEAR",
    "MASK_KINDS",
    "OCCLUDER_KINDS",
    "WEARS",
    "Cloth",
    "GearKind",
    "MaskKind",
    "OccluderKind",
    "Wear",
    "canonical_landmarks",
    "darken_skin",
    "draw_gear",
    "draw_mask",
    "draw_occluder",
]

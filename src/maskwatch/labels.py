"""The three labels of a face, in the order of the network's outputs, and the verdicts about it.

Examples:
    >>> from maskwatch import LABELS, VERDICTS
    >>> LABELS
    ('with_mask', 'without_mask', 'mask_worn_incorrectly')
    >>> VERDICTS[-1]
    'uncertain'
"""

from __future__ import annotations

from typing import Final

LABELS: Final = ("with_mask", "without_mask", "mask_worn_incorrectly")
WITH_MASK: Final = 0
WITHOUT_MASK: Final = 1
MASK_WORN_INCORRECTLY: Final = 2

VERDICTS: Final = (*LABELS, "uncertain")
"""A verdict is one of the labels, or `uncertain` where no label is sure enough."""
UNCERTAIN: Final = 3

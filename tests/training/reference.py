"""What the exported graph is held against, in plain NumPy."""

from __future__ import annotations

import numpy as np

from maskwatch.boxes import iou


def reference_suppression(xyxy, scores, score_threshold, iou_threshold):
    """Greedy non-maximum suppression of one picture, label-blind: kept rows, best first."""
    best = scores.max(axis=1)
    order = [row for row in np.argsort(-best, kind="stable") if best[row] > score_threshold]
    kept: list[int] = []
    for row in order:
        if all(iou(xyxy[row : row + 1], xyxy[k : k + 1])[0, 0] <= iou_threshold for k in kept):
            kept.append(row)
    return kept

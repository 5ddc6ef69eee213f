"""Zones and lines drawn on a camera's picture, in shares of its width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from maskwatch.errors import OptionError


@dataclass(frozen=True)
class Zone:
    """A polygon, in shares of the picture's width and height, corners in order.

    Raises:
        OptionError: fewer than three corners, or a corner outside 0..1.
    """

    name: str
    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        _check_points(f"zone {self.name!r}", self.corners, least=3)

    def holds(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(n,): which points (n, 2), in shares, lie inside (even-odd rule)."""
        inside = np.zeros(len(points), dtype=bool)
        for (x1, y1), (x2, y2) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            spans = (y1 > points[:, 1]) != (y2 > points[:, 1])
            with np.errstate(divide="ignore", invalid="ignore"):
                at_x = (x2 - x1) * (points[:, 1] - y1) / (y2 - y1) + x1
            inside ^= spans & (points[:, 0] < at_x)
        return inside


@dataclass(frozen=True)
class Line:
    """A line between two points in shares of the picture; crossing it is counted by direction.

    "in" is from the left to the right of the line as seen from `start` to `end`.

    Raises:
        OptionError: a point lies outside 0..1, or both are the same.
    """

    name: str
    start: tuple[float, float]
    end: tuple[float, float]

    def __post_init__(self) -> None:
        _check_points(f"line {self.name!r}", (self.start, self.end), least=2)
        if self.start == self.end:
            raise OptionError(f"line {self.name!r} has no length; give two different points")

    def crossed(self, before: tuple[float, float], after: tuple[float, float]) -> Literal["in", "out"] | None:
        """The direction in which a step from `before` to `after` crosses the line, or None."""
        sides = [_side(self.start, self.end, point) for point in (before, after)]
        ends = [_side(before, after, point) for point in (self.start, self.end)]
        if sides[0] * sides[1] >= 0 or ends[0] * ends[1] > 0:
            return None
        return "in" if sides[0] < 0 else "out"


def _check_points(name: str, points: Sequence[tuple[float, float]], *, least: int) -> None:
    if len(points) < least:
        raise OptionError(f"{name} needs at least {least} points, not {len(points)}")
    if any(not 0 <= value <= 1 for point in points for value in point):
        raise OptionError(f"{name}: points are shares of width and height, 0 to 1, not {points}")


def _side(start: tuple[float, float], end: tuple[float, float], point: tuple[float, float]) -> float:
    """Above 0 where `point` is to the right of the way from `start` to `end`, in a picture's axes."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

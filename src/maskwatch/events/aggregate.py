"""Counts and shares over a stretch of time, in which nobody can be told from anybody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from maskwatch.detections import Detections
from maskwatch.errors import OptionError
from maskwatch.labels import VERDICTS, WITH_MASK

LONGEST_STEP_S = 1.0
"""Between two looks further apart than this nobody is taken to have been there."""


@dataclass(frozen=True)
class Aggregate:
    """What one source saw in a stretch of time; holds nothing about any one person.

    Attributes:
        source_id: which camera or file.
        at_s: when the stretch ended, in seconds of the source's time.
        wall_time: when, as seconds since 1970 (UTC), or None for a recording.
        duration_s: its length.
        people: how many visits began in it.
        most: most people in view at once.
        verdict_s: person-seconds by verdict, in the order of `VERDICTS`.
    """

    kind: ClassVar[Literal["aggregate"]] = "aggregate"

    source_id: str
    at_s: float
    wall_time: float | None
    duration_s: float
    people: int
    most: int
    verdict_s: tuple[float, float, float, float]

    @property
    def compliance(self) -> float | None:
        """Share of the person-time with a sure verdict in which a mask was worn right."""
        sure_s = sum(self.verdict_s[:3])
        return self.verdict_s[WITH_MASK] / sure_s if sure_s > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and tables, times rounded to milliseconds."""
        return {
            "kind": self.kind,
            "source_id": self.source_id,
            "at_s": round(self.at_s, 3),
            "wall_time": None if self.wall_time is None else round(self.wall_time, 3),
            "duration_s": round(self.duration_s, 3),
            "people": self.people,
            "most": self.most,
            **{f"{name}_s": round(value, 3) for name, value in zip(VERDICTS, self.verdict_s, strict=True)},
            "compliance": None if self.compliance is None else round(self.compliance, 4),
        }


@dataclass
class _Stretch:
    """What has been counted since `start_s`."""

    start_s: float
    people: int = 0
    most: int = 0
    verdict_s: list[float] = field(default_factory=lambda: [0.0] * len(VERDICTS))


class Aggregator:
    """Sums up one source; feed it every frame that was looked at.

    Raises:
        OptionError: `every_s` is not above 0.
    """

    def __init__(self, source_id: str, every_s: float, *, wall_origin: float | None = None) -> None:
        """An `Aggregate` every `every_s` seconds; `wall_origin` as for `EventBuilder`."""
        if not every_s > 0:
            raise OptionError(f"an aggregate must cover more than 0 s, not {every_s:g}")
        self._source_id, self._every_s, self._wall_origin = source_id, every_s, wall_origin
        self._stretch: _Stretch | None = None
        self._known: frozenset[int] = frozenset()
        self._last_s = 0.0

    def update(self, tracked: Detections, at_s: float, live_ids: frozenset[int]) -> list[Aggregate]:
        """Take one frame; the aggregate that it completes, if it does."""
        done: list[Aggregate] = []
        if self._stretch is None:
            self._stretch, self._last_s = _Stretch(at_s), at_s
        elif at_s - self._stretch.start_s >= self._every_s:
            done = self.close(at_s)
            self._stretch = _Stretch(at_s)
        stretch = self._stretch
        elapsed_s = at_s - self._last_s
        if 0 < elapsed_s <= LONGEST_STEP_S:
            for verdict, count in enumerate(np.bincount(tracked.verdict, minlength=len(VERDICTS))):
                stretch.verdict_s[verdict] += float(count) * elapsed_s
        present = frozenset(tracked.track_id.tolist())
        stretch.people += len(present - self._known)
        stretch.most = max(stretch.most, len(tracked))
        self._known = (self._known & live_ids) | present
        self._last_s = at_s
        return done

    def close(self, at_s: float | None = None) -> list[Aggregate]:
        """What was counted since the last aggregate, as the source ends or is lost."""
        stretch, self._stretch = self._stretch, None
        if stretch is None:
            return []
        end_s = self._last_s if at_s is None else at_s
        aggregate = Aggregate(
            source_id=self._source_id,
            at_s=end_s,
            wall_time=None if self._wall_origin is None else self._wall_origin + end_s,
            duration_s=end_s - stretch.start_s,
            people=stretch.people,
            most=stretch.most,
            verdict_s=(
                stretch.verdict_s[0],
                stretch.verdict_s[1],
                stretch.verdict_s[2],
                stretch.verdict_s[3],
            ),
        )
        return [aggregate]

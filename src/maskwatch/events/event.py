"""`Event`: something that happened at one source; a row in every sink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["start", "update", "end", "alert", "crossing", "lost", "back"]


@dataclass(frozen=True)
class Event:
    """Something that happened at one source; a row in every sink.

    Attributes:
        kind: start, update (another verdict) or end of a visit; alert of a rule; crossing of a
            line; lost or back, of the camera itself.
        source_id: which camera or file.
        at_s: when, in seconds of the source's time.
        wall_time: when, as seconds since 1970 (UTC), or None for a recording.
        track_id: which person, None for what concerns all.
        verdict: the person's verdict by now, "" for what concerns all.
        start_s: when the visit began.
        duration_s: length of the visit, the gap or the breach so far.
        without_mask_s: time of the visit spent without a mask.
        best_score: the surest detection of the visit.
        best_xyxy: its box in px of the source, or None.
        rule: name of the rule, line or zone.
        message: one sentence for people.
    """

    kind: EventKind
    source_id: str
    at_s: float
    wall_time: float | None = None
    track_id: int | None = None
    verdict: str = ""
    start_s: float | None = None
    duration_s: float = 0.0
    without_mask_s: float = 0.0
    best_score: float = 0.0
    best_xyxy: tuple[float, float, float, float] | None = None
    rule: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and tables, times rounded to milliseconds."""
        values = dict(self.__dict__)
        for name in ("at_s", "wall_time", "start_s", "duration_s", "without_mask_s", "best_score"):
            if values[name] is not None:
                values[name] = round(values[name], 3)
        if self.best_xyxy is not None:
            values["best_xyxy"] = [round(value, 1) for value in self.best_xyxy]
        return values

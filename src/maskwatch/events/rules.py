"""Rules an operator sets, and the alerts when one is broken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from maskwatch.detections import Detections
from maskwatch.errors import OptionError
from maskwatch.events.event import Event, EventKind
from maskwatch.events.geometry import Line, Zone
from maskwatch.labels import UNCERTAIN, VERDICTS, WITH_MASK, WITHOUT_MASK

LARGEST_NUMBER = 1e9
"""Thirty years in seconds: no rule needs more."""


@dataclass(frozen=True)
class Rules:
    """What an operator wants to be told of one source.

    Attributes:
        without_mask_s: alert when a person is without a mask for so long; None: never.
        wrong_counts: whether a mask worn wrong counts as none for that rule.
        compliance_below: alert when the share of time worn right falls below; None: never.
        compliance_window_s: over how long that share is taken.
        more_than: alert when more people than this are in view (or in the zones); None: never.
        repeat_s: the same alert comes again after this time at the earliest.
        zones: where the rules hold; none: everywhere.
        lines: lines whose crossing is an event.

    Raises:
        OptionError: a value is out of range.
    """

    without_mask_s: float | None = 2.0
    wrong_counts: bool = False
    compliance_below: float | None = None
    compliance_window_s: float = 300.0
    more_than: int | None = None
    repeat_s: float = 60.0
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        for name in ("without_mask_s", "compliance_below", "compliance_window_s", "more_than", "repeat_s"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise OptionError(f"{name} must be a number, not {value!r}")
        if not isinstance(self.wrong_counts, bool):
            raise OptionError(f"wrong_counts must be true or false, not {self.wrong_counts!r}")
        if self.without_mask_s is not None and self.without_mask_s < 0:
            raise OptionError(f"without_mask_s must be at least 0, not {self.without_mask_s}")
        if self.compliance_below is not None and not 0 < self.compliance_below <= 1:
            raise OptionError(f"compliance_below must lie between 0 and 1, not {self.compliance_below}")
        if self.compliance_window_s <= 0 or self.repeat_s < 0:
            raise OptionError("compliance_window_s must be above 0 and repeat_s at least 0")
        if self.more_than is not None and self.more_than < 0:
            raise OptionError(f"more_than must be at least 0, not {self.more_than}")


def _is_number(value: object) -> bool:
    """Whether a value from a file is a number that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


@dataclass
class _Breach:
    """How long one person has been breaking the mask rule, and whether that was said."""

    without_s: float = 0.0
    alerted: bool = False
    last_s: float = 0.0
    point: tuple[float, float] = (0.0, 0.0)


class RuleBook:
    """Watches one source for broken rules; feed it every frame that was looked at."""

    def __init__(self, rules: Rules, source_id: str, *, wall_origin: float | None = None) -> None:
        """`wall_origin` as for `EventBuilder`."""
        self.rules = rules
        self._source_id, self._wall_origin = source_id, wall_origin
        self._people: dict[int, _Breach] = {}
        self._last_alert_s: dict[str, float] = {}
        self._window: deque[tuple[float, float, float]] = deque()
        self._last_s: float | None = None

    def update(self, tracked: Detections, at_s: float, size_wh: tuple[int, int]) -> list[Event]:
        """Alerts and crossings of one frame of `size_wh` px at `at_s` seconds."""
        points = _places(tracked, size_wh)
        here = self._in_zones(points)
        events = self._crossings(tracked, points, at_s)
        events += self._mask_alerts(tracked, here, at_s)
        events += self._count_alert(int(here.sum()), at_s)
        events += self._compliance_alert(tracked[here], at_s)
        for row, track_id in enumerate(tracked.track_id.tolist()):
            person = self._people.setdefault(track_id, _Breach())
            person.last_s, person.point = at_s, (float(points[row, 0]), float(points[row, 1]))
        self._people = {key: person for key, person in self._people.items() if at_s - person.last_s < 10}
        self._last_s = at_s
        return events

    @property
    def compliance(self) -> float | None:
        """Share of person-time with a sure verdict in the window with the mask worn right."""
        right, sure = (sum(entry[column] for entry in self._window) for column in (1, 2))
        return right / sure if sure > 0 else None

    def _in_zones(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        if not self.rules.zones:
            return np.ones(len(points), dtype=bool)
        return np.any([zone.holds(points) for zone in self.rules.zones], axis=0)

    def _mask_alerts(self, tracked: Detections, here: npt.NDArray[np.bool_], at_s: float) -> list[Event]:
        limit_s = self.rules.without_mask_s
        if limit_s is None:
            return []
        events = []
        for row in range(len(tracked)):
            person = self._people.setdefault(int(tracked.track_id[row]), _Breach(last_s=at_s))
            verdict = int(tracked.verdict[row])
            bare = verdict == WITHOUT_MASK or (
                self.rules.wrong_counts and verdict not in (WITH_MASK, WITHOUT_MASK, UNCERTAIN)
            )
            if not bare or not here[row]:
                if verdict != UNCERTAIN:  # doubt neither goes on counting nor starts afresh
                    person.without_s, person.alerted = 0.0, False
                continue
            person.without_s += max(at_s - person.last_s, 0.0)
            if person.without_s >= limit_s and not person.alerted:
                person.alerted = True
                words = f"person {tracked.track_id[row]} without a mask for {person.without_s:.1f} s"
                event = self._alert("without_mask", at_s, words, person.without_s)
                events.append(replace(event, track_id=int(tracked.track_id[row]), verdict=VERDICTS[verdict]))
        return events

    def _count_alert(self, count: int, at_s: float) -> list[Event]:
        if self.rules.more_than is None or count <= self.rules.more_than or self._too_soon("count", at_s):
            return []
        return [self._alert("count", at_s, f"{count} people, more than {self.rules.more_than}")]

    def _compliance_alert(self, tracked: Detections, at_s: float) -> list[Event]:
        elapsed_s = 0.0 if self._last_s is None else min(max(at_s - self._last_s, 0.0), 1.0)
        sure = int((tracked.verdict != UNCERTAIN).sum())
        right = int((tracked.verdict == WITH_MASK).sum())
        self._window.append((at_s, right * elapsed_s, sure * elapsed_s))
        while self._window and at_s - self._window[0][0] > self.rules.compliance_window_s:
            self._window.popleft()
        limit, share = self.rules.compliance_below, self.compliance
        if limit is None or share is None or share >= limit or self._too_soon("compliance", at_s):
            return []
        if sum(entry[2] for entry in self._window) < min(5.0, self.rules.compliance_window_s / 2):
            return []  # a few seconds of one person are no rate yet
        return [self._alert("compliance", at_s, f"compliance {share:.0%} is below {limit:.0%}")]

    def _crossings(self, tracked: Detections, points: npt.NDArray[np.float64], at_s: float) -> list[Event]:
        events = []
        for row, track_id in enumerate(tracked.track_id.tolist()):
            person = self._people.get(track_id)
            if person is None:
                continue
            after = (float(points[row, 0]), float(points[row, 1]))
            for line in self.rules.lines:
                direction = line.crossed(person.point, after)
                if direction is None:
                    continue
                words = f"person {track_id} crossed {line.name} ({direction})"
                event = self._event("crossing", at_s, f"{line.name}:{direction}", words)
                events.append(replace(event, track_id=track_id, verdict=VERDICTS[int(tracked.verdict[row])]))
        return events

    def _too_soon(self, rule: str, at_s: float) -> bool:
        return at_s - self._last_alert_s.get(rule, -np.inf) < self.rules.repeat_s

    def _alert(self, rule: str, at_s: float, message: str, duration_s: float = 0.0) -> Event:
        self._last_alert_s[rule] = at_s
        return replace(self._event("alert", at_s, rule, message), duration_s=duration_s)

    def _event(self, kind: EventKind, at_s: float, rule: str, message: str) -> Event:
        wall_time = None if self._wall_origin is None else self._wall_origin + at_s
        return Event(kind, self._source_id, at_s, wall_time, rule=rule, message=message)


def _places(tracked: Detections, size_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(n, 2): where people are, in shares of the picture."""
    xyxy = tracked.xyxy.astype(np.float64)
    points = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1)
    return np.clip(points / np.array(size_wh, dtype=np.float64), 0.0, 1.0)

"""Start, update and end of each person's visit."""

from __future__ import annotations

from dataclasses import dataclass

from maskwatch.detections import Detections
from maskwatch.events.event import Event, EventKind
from maskwatch.labels import VERDICTS, WITHOUT_MASK


@dataclass
class _Visit:
    """One person's stay so far."""

    track_id: int
    start_s: float
    last_s: float
    verdict: int
    without_mask_s: float = 0.0
    best_score: float = 0.0
    best_xyxy: tuple[float, float, float, float] | None = None


class EventBuilder:
    """Turns the tracked faces of one source into events; feed it every frame that was looked at."""

    def __init__(self, source_id: str, *, wall_origin: float | None = None) -> None:
        """`wall_origin` is the wall-clock time (s since 1970) at the source's time 0, for cameras."""
        self._source_id = source_id
        self._wall_origin = wall_origin
        self._visits: dict[int, _Visit] = {}

    def update(self, tracked: Detections, at_s: float, live_ids: frozenset[int]) -> list[Event]:
        """Events of one frame; a visit ends when its id is in neither `tracked` nor `live_ids`."""
        events: list[Event] = []
        for row in range(len(tracked)):
            track_id, verdict = int(tracked.track_id[row]), int(tracked.verdict[row])
            visit = self._visits.get(track_id)
            if visit is None:
                visit = self._visits[track_id] = _Visit(track_id, at_s, at_s, verdict)
                self._note_best(visit, tracked, row)
                events.append(self._event("start", visit, at_s))
                continue
            if visit.verdict == WITHOUT_MASK:
                visit.without_mask_s += at_s - visit.last_s
            visit.last_s = at_s
            self._note_best(visit, tracked, row)
            if verdict != visit.verdict:
                visit.verdict = verdict
                events.append(self._event("update", visit, at_s))
        present = set(tracked.track_id.tolist()) | live_ids
        gone = [key for key in self._visits if key not in present]
        return events + [self._event("end", self._visits.pop(key), at_s) for key in gone]

    def close(self, at_s: float) -> list[Event]:
        """End all visits, as the source ends or is lost."""
        visits, self._visits = self._visits, {}
        return [self._event("end", visit, at_s) for visit in visits.values()]

    @staticmethod
    def _note_best(visit: _Visit, tracked: Detections, row: int) -> None:
        if float(tracked.score[row]) > visit.best_score:
            visit.best_score = float(tracked.score[row])
            x1, y1, x2, y2 = (float(value) for value in tracked.xyxy[row])
            visit.best_xyxy = (x1, y1, x2, y2)

    def _event(self, kind: EventKind, visit: _Visit, at_s: float) -> Event:
        return Event(
            kind=kind,
            source_id=self._source_id,
            at_s=at_s,
            wall_time=None if self._wall_origin is None else self._wall_origin + at_s,
            track_id=visit.track_id,
            verdict=VERDICTS[visit.verdict],
            start_s=visit.start_s,
            duration_s=visit.last_s - visit.start_s,
            without_mask_s=visit.without_mask_s,
            best_score=visit.best_score,
            best_xyxy=visit.best_xyxy,
        )

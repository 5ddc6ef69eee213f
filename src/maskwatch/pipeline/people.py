"""`PeopleWatch`: all that one source needs to turn faces into people, verdicts and events."""

from __future__ import annotations

from maskwatch.detections import Detections
from maskwatch.events import Event, EventBuilder, RuleBook, Rules
from maskwatch.frames import Frame
from maskwatch.tracker import Tracker, TrackOptions
from maskwatch.verdicts import PersonVerdicts, VerdictOptions


class PeopleWatch:
    """Tracker, verdicts, visits and rules of one source, in step."""

    def __init__(
        self,
        source_id: str,
        *,
        rules: Rules | None = None,
        track_options: TrackOptions | None = None,
        verdict_options: VerdictOptions | None = None,
        wall_origin: float | None = None,
    ) -> None:
        """`wall_origin` is the wall-clock time (s since 1970) at the source's time 0, for cameras."""
        self.tracker = Tracker(track_options)
        self.verdicts = PersonVerdicts(verdict_options)
        self.rules = RuleBook(rules or Rules(without_mask_s=None), source_id, wall_origin=wall_origin)
        self.label_flips = 0
        self.verdict_flips = 0
        self._builder = EventBuilder(source_id, wall_origin=wall_origin)
        self._last: dict[int, tuple[int, int]] = {}
        self._last_s = 0.0

    def look(self, found: Detections, frame: Frame) -> tuple[Detections, list[Event]]:
        """Take the faces found in a frame: the same with ids and verdicts, and what is new."""
        tracked = self.tracker.update(found, frame.pts_s)
        tracked = self.verdicts.update(tracked, frame.pts_s, frame.image)
        live_ids = self.tracker.live_ids
        events = self._builder.update(tracked, frame.pts_s, live_ids)
        events += self.rules.update(tracked, frame.pts_s, frame.size_wh)
        self._count_flips(tracked)
        self.verdicts.forget(live_ids)
        self._last = {key: value for key, value in self._last.items() if key in live_ids}
        self._last_s = frame.pts_s
        return tracked, events

    def skip(self, frame: Frame) -> Detections:
        """Where everyone should be in a frame that nobody looked at."""
        return self.verdicts.recall(self.tracker.coast(frame.pts_s))

    def close(self) -> list[Event]:
        """End all visits."""
        return self._builder.close(self._last_s)

    def _count_flips(self, tracked: Detections) -> None:
        """How often the label, and how often the verdict, of a person changed from look to look."""
        rows = zip(tracked.track_id.tolist(), tracked.label.tolist(), tracked.verdict.tolist(), strict=True)
        for track_id, label, verdict in rows:
            before = self._last.get(track_id)
            if before is not None:
                self.label_flips += before[0] != label
                self.verdict_flips += before[1] != verdict
            self._last[track_id] = (label, verdict)

"""`PeopleWatch`: all that one source needs to turn faces into people, verdicts and events."""

from __future__ import annotations

from dataclasses import dataclass, field

from maskwatch.detections import Detections
from maskwatch.errors import OptionError
from maskwatch.events import Aggregator, EventBuilder, Happening, RuleBook, Rules
from maskwatch.frames import Frame
from maskwatch.tracker import Tracker, TrackOptions
from maskwatch.verdicts import PersonVerdicts, VerdictOptions

NAMELESS_RULES = frozenset({"count", "compliance"})
"""Rules about all people together, whose alerts point at nobody."""


@dataclass(frozen=True)
class WatchOptions:
    """How the people of a source are followed and what is told of them.

    Attributes:
        rules: what to raise an alert for.
        track: how faces are followed.
        verdict: how evidence becomes a verdict.
        aggregate_every_s: sum up this often; None: never.
        aggregate_only: tell nothing of single persons: no visits, no crossings, no alert about
            one of them; only sums, and alerts about all.

    Raises:
        OptionError: `aggregate_only` without `aggregate_every_s`.
    """

    rules: Rules = field(default_factory=lambda: Rules(without_mask_s=None))
    track: TrackOptions = field(default_factory=TrackOptions)
    verdict: VerdictOptions = field(default_factory=VerdictOptions)
    aggregate_every_s: float | None = None
    aggregate_only: bool = False

    def __post_init__(self) -> None:
        if self.aggregate_only and self.aggregate_every_s is None:
            raise OptionError("aggregate_only needs aggregate_every_s, or there would be nothing to tell")


class PeopleWatch:
    """Tracker, verdicts, visits, rules and sums of one source, in step."""

    def __init__(
        self, source_id: str, options: WatchOptions | None = None, *, wall_origin: float | None = None
    ) -> None:
        """`wall_origin` is the wall-clock time (s since 1970) at the source's time 0, for cameras."""
        self.options = options or WatchOptions()
        self.tracker = Tracker(self.options.track)
        self.verdicts = PersonVerdicts(self.options.verdict)
        self.rules = RuleBook(self.options.rules, source_id, wall_origin=wall_origin)
        self.label_flips = 0
        self.verdict_flips = 0
        self._builder = EventBuilder(source_id, wall_origin=wall_origin)
        every_s = self.options.aggregate_every_s
        self._aggregator = (
            None if every_s is None else Aggregator(source_id, every_s, wall_origin=wall_origin)
        )
        self._found = Detections.empty()
        self._last: dict[int, tuple[int, int]] = {}
        self._last_s = 0.0

    def look(self, found: Detections, frame: Frame) -> tuple[Detections, list[Happening]]:
        """Take the faces found in a frame: the same with ids and verdicts, and what is new."""
        self._found = found
        tracked = self.tracker.update(found, frame.pts_s)
        tracked = self.verdicts.update(tracked, frame.pts_s, frame.image)
        live_ids = self.tracker.live_ids
        visits = self._builder.update(tracked, frame.pts_s, live_ids)
        alerts = self.rules.update(tracked, frame.pts_s, frame.size_wh)
        news: list[Happening] = [*visits, *alerts]
        if self.options.aggregate_only:
            news = [alert for alert in alerts if alert.rule in NAMELESS_RULES]
        if self._aggregator is not None:
            news += self._aggregator.update(tracked, frame.pts_s, live_ids)
        self._count_flips(tracked)
        self.verdicts.forget(live_ids)
        self._last = {key: value for key, value in self._last.items() if key in live_ids}
        self._last_s = frame.pts_s
        return tracked, news

    def skip(self, frame: Frame) -> Detections:
        """Where everyone should be in a frame that nobody looked at."""
        return self.verdicts.recall(self.tracker.coast(frame.pts_s))

    def to_hide(self, frame: Frame) -> Detections:
        """Every face that may be in the frame just taken: to be blurred, however unsure it is.

        All that the last look found, weak ones and those not followed yet too, and where the faces
        that it missed should be by now.
        """
        return Detections.concatenate([self._found, self.tracker.expected(frame.pts_s)])

    def close(self) -> list[Happening]:
        """End all visits, and sum up what is left."""
        ended = self._builder.close(self._last_s)
        news: list[Happening] = [] if self.options.aggregate_only else [*ended]
        if self._aggregator is not None:
            news += self._aggregator.close()
        return news

    def _count_flips(self, tracked: Detections) -> None:
        """How often the label, and how often the verdict, of a person changed from look to look."""
        rows = zip(tracked.track_id.tolist(), tracked.label.tolist(), tracked.verdict.tolist(), strict=True)
        for track_id, label, verdict in rows:
            before = self._last.get(track_id)
            if before is not None:
                self.label_flips += before[0] != label
                self.verdict_flips += before[1] != verdict
            self._last[track_id] = (label, verdict)

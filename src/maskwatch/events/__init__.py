"""What happens at a source: visits of persons, crossings, and alerts when a rule is broken.

No input or output here. `EventBuilder` and `RuleBook` watch the tracked faces of one source on the
source's own time, so a recording and a camera give the same events.
"""

from maskwatch.events.aggregate import Aggregate, Aggregator
from maskwatch.events.event import Event, EventKind
from maskwatch.events.geometry import Line, Zone
from maskwatch.events.rules import RuleBook, Rules
from maskwatch.events.visits import EventBuilder

Happening = Event | Aggregate
"""What sinks receive."""

__all__ = [
    "Aggregate",
    "Aggregator",
    "Event",
    "EventBuilder",
    "EventKind",
    "Happening",
    "Line",
    "RuleBook",
    "Rules",
    "Zone",
]

"""What happens at a source: visits of persons, crossings, and alerts when a rule is broken.

No input or output here. `EventBuilder` and `RuleBook` watch the tracked faces of one source on the
source's own time, so a recording and a camera give the same events.
"""

from maskwatch.events.event import Event, EventKind
from maskwatch.events.geometry import Line, Zone
from maskwatch.events.rules import RuleBook, Rules
from maskwatch.events.visits import EventBuilder

__all__ = ["Event", "EventBuilder", "EventKind", "Line", "RuleBook", "Rules", "Zone"]

"""The relay turns committed facts into hints on the bus."""

from collections.abc import Sequence

from . import topics
from .events import Event, Kind
from .ports import Bus

CLAIMABLE: frozenset[Kind] = frozenset(
    {"task.submitted", "task.retried", "task.released", "task.requeued", "task.lost", "project.changed"}
)
ENDED: frozenset[Kind] = frozenset({"task.succeeded", "task.failed", "task.cancelled", "task.lost", "task.deleted"})


def hints(events: Sequence[Event]) -> set[str]:
    """The topics to which these facts matter."""
    said = {topics.EVENTS} if events else set()
    for event in events:
        if event.kind in CLAIMABLE:
            said.add(topics.queue(event.project or event.subject))
        if event.kind in ENDED:
            said.update((topics.task(event.subject), topics.output(event.subject)))
    return said


def relay_to(bus: Bus, events: Sequence[Event]) -> None:
    """Say on the bus what was committed."""
    for topic in hints(events):
        bus.publish(topic)

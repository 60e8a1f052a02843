"""Which facts are told on which topics."""

from __future__ import annotations

import pytest

from treadle.adapters.bus.local import LocalBus
from treadle.core import topics
from treadle.core.events import KINDS, Event, Kind
from treadle.core.relay import hints, relay_to

QUEUE, TASK, OUTPUT = "queue.p", "task.t", "output.t"
HINTS: dict[Kind, set[str]] = {
    "project.created": set(),
    "project.changed": {"queue.t"},  # may have been reopened; its subject is the project
    "project.deleted": set(),
    "type.created": set(),
    "type.changed": set(),
    "type.deleted": set(),
    "task.submitted": {QUEUE},
    "task.claimed": set(),
    "task.resumed": set(),
    "task.extended": set(),
    "task.succeeded": {TASK, OUTPUT},
    "task.failed": {TASK, OUTPUT},
    "task.retried": {QUEUE},
    "task.lost": {QUEUE, TASK, OUTPUT},  # back in the queue or failed
    "task.released": {QUEUE},
    "task.cancelled": {TASK, OUTPUT},
    "task.requeued": {QUEUE},
    "task.changed": set(),
    "task.deleted": {TASK, OUTPUT},
    "grant.opened": set(),
    "grant.closed": set(),
    "node.joined": set(),
    "node.left": set(),
    "node.lost": set(),
    "node.removed": set(),
}


def fact(kind: Kind) -> Event:
    return Event(kind, "t", 0, None if kind.startswith("project.") else "p")


def test_every_kind_is_in_the_table() -> None:
    assert tuple(HINTS) == KINDS


@pytest.mark.parametrize("kind", HINTS)
def test_what_a_fact_is_told_to(kind: Kind) -> None:
    assert hints([fact(kind)]) == {topics.EVENTS} | HINTS[kind]


def test_many_facts_are_told_once_for_each_topic_and_none_say_nothing() -> None:
    assert hints([]) == set()
    assert hints([fact("task.submitted"), fact("task.submitted"), fact("task.failed")]) == {
        "events",
        QUEUE,
        TASK,
        OUTPUT,
    }


async def test_who_listens_hears_it_even_if_it_was_said_before_he_looked() -> None:
    bus = LocalBus()
    with bus.listen(QUEUE) as worker, bus.listen(TASK) as waiter:
        relay_to(bus, [fact("task.submitted")])
        assert await worker.heard(30)
        assert not await worker.heard(0.001)
        assert not await waiter.heard(0.001)
    relay_to(bus, [fact("task.submitted")])
    with bus.listen(QUEUE) as late:
        assert not await late.heard(0.001)

"""The log of facts, followed: from any cursor, without a gap, whether or not a hint arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

import pytest

from tests.core.stage import ANN, Stage
from treadle.adapters.bus.local import LocalBus, LocalListener
from treadle.core import fabric
from treadle.core.events import KINDS, Event
from treadle.core.fabric import PAGE, Events
from treadle.core.leases import Claim, Finish
from treadle.core.submitting import NewTask
from treadle.core.tasks import Hold, Result


async def take(facts: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(30):
        return [await anext(facts) for _ in range(count)]


async def test_kinds_are_words_joined_by_a_point_and_each_stands_once() -> None:
    assert len(set(KINDS)) == len(KINDS)
    assert {kind.split(".")[0] for kind in KINDS} == {"project", "type", "task", "grant", "node"}


async def test_following_gives_what_was_and_then_what_happens(stage: Stage) -> None:
    project = await stage.project()
    (task,) = await stage.submit(project)
    async with aclosing(stage.fabric.events.follow(0)) as facts:
        past = await take(facts, 2)
        assert [(fact.kind, fact.subject) for fact in past] == [
            ("project.created", project.id),
            ("task.submitted", task.id),
        ]
        coming = asyncio.create_task(take(facts, 2))
        await stage.fabric.tasks.claim(Claim(project=project.id, worker="w"))
        await stage.fabric.tasks.finish(Finish(task=task.id, by=Hold(worker="w"), result=Result(ok=True)))
        assert [fact.kind for fact in await coming] == ["task.claimed", "task.succeeded"]


async def test_following_one_project_hears_nothing_of_others(stage: Stage) -> None:
    mine, other = await stage.project("mine"), await stage.project("other")
    async with aclosing(stage.fabric.events.follow(0, mine.id)) as facts:
        assert [fact.kind for fact in await take(facts, 1)] == ["project.created"]
        coming = asyncio.create_task(take(facts, 1))
        await stage.submit(other, *(NewTask() for _ in range(PAGE + 3)))
        await stage.submit(mine)
        (fact,) = await coming
        assert (fact.kind, fact.project) == ("task.submitted", mine.id)


async def test_several_readers_each_see_all_in_the_same_order(stage: Stage) -> None:
    project = await stage.project()
    readers = [asyncio.create_task(take(stage.fabric.events.follow(0), 31)) for _ in range(4)]
    await asyncio.gather(*(stage.submit(project) for _ in range(30)))
    seen = await asyncio.gather(*readers)
    assert all(facts == seen[0] for facts in seen)
    assert [fact.seq for fact in seen[0]] == list(range(1, 32))


class Deaf(LocalBus):
    """A bus that loses every hint, and counts who listens."""

    listening = 0

    def publish(self, topic: str) -> None:
        pass

    @contextmanager
    def listen(self, topic: str) -> Iterator[LocalListener]:
        self.listening += 1
        try:
            with super().listen(topic) as listener:
                yield listener
        finally:
            self.listening -= 1


async def test_following_from_a_cursor_through_many_pages_has_no_gap(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await stage.project()
    tasks = await stage.submit(project, *(NewTask() for _ in range(2 * PAGE + 7)))
    last = await stage.fabric.events.last()
    monkeypatch.setattr(fabric, "POLL_SECONDS", 60)  # nor does it wait between pages
    async with aclosing(Events(stage.store, Deaf()).follow(1)) as facts:
        seen = await take(facts, len(tasks))
    assert [fact.subject for fact in seen] == [task.id for task in tasks]
    assert [fact.seq for fact in seen] == list(range(2, last + 1))


async def test_a_lost_hint_is_made_good_by_the_slow_poll(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabric, "POLL_SECONDS", 0.01)
    async with aclosing(Events(stage.store, Deaf()).follow(0)) as facts:
        coming = asyncio.create_task(take(facts, 1))
        await stage.fabric.projects.create("late", ANN)
        assert [fact.kind for fact in await coming] == ["project.created"]


async def test_a_reader_that_leaves_stops_listening(stage: Stage) -> None:
    await stage.project()
    bus = Deaf()
    async with aclosing(Events(stage.store, bus).follow(0)) as facts:
        await take(facts, 1)
        assert bus.listening == 1
    assert bus.listening == 0


async def test_a_refused_change_leaves_no_fact(stage: Stage) -> None:
    await stage.project()
    last = await stage.fabric.events.last()
    with pytest.raises(Exception, match="exists already"):
        await stage.project()
    assert await stage.fabric.events.last() == last

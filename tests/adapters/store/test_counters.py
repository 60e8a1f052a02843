"""Counters and statistics on every store: equal to the rows after whatever happened."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

import pytest

from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.core.clock import HOUR, SECOND
from treadle.core.errors import FabricError
from treadle.core.leases import Release
from treadle.core.ports import Filter
from treadle.core.projects import Project
from treadle.core.submitting import NewTask
from treadle.core.tasks import STATES, Hold, Result


async def do_something(replica: Replica, project: Project, dice: random.Random) -> None:
    """One verb on some task; what is not legal is refused, and that is fine here."""
    tasks = await replica.fabric.tasks.page(Filter(project=project.id), limit=30, offset=dice.randrange(20))
    verb = dice.randrange(9)
    with suppress(FabricError):
        if verb <= 1 or not tasks:
            await replica.submit(project, *[NewTask(max_retries=1, priority=dice.randrange(3))] * dice.randrange(1, 4))
            return
        task = dice.choice(tasks)
        if verb <= 3:
            await replica.claim(project, f"w{dice.randrange(3)}", count=dice.randrange(1, 5), lease=20 * SECOND)
        elif verb == 4:
            await replica.finish(task, Hold(), Result(ok=dice.random() < 0.5, retry=dice.random() < 0.5))
        elif verb == 5:
            await replica.fabric.tasks.cancel(task.id, ANN)
        elif verb == 6:
            await replica.fabric.tasks.requeue(task.id, ANN)
        elif verb == 7:
            await replica.fabric.tasks.delete(task.id, ANN)
        else:
            await replica.fabric.tasks.release(Release(task=task.id, by=Hold()))
            replica.clock.advance(dice.randrange(30))


async def rows(replica: Replica, project: Project) -> dict[str, int]:
    found = await replica.fabric.tasks.page(Filter(project=project.id), limit=10_000)
    counted = Counter(task.state for task in found)
    return {state: counted[state] for state in STATES}


@pytest.mark.parametrize("seed", range(3))
async def test_counters_equal_the_rows(replica: Replica, seed: int) -> None:
    dice = random.Random(seed)
    projects = [await replica.project(name) for name in ("looms", "mill")]
    for _ in range(40):
        await asyncio.gather(*[do_something(replica, dice.choice(projects), dice) for _ in range(6)])
        for project in projects:
            tally = await replica.tally(project)
            counted = await rows(replica, project)
            assert {state: tally.of(state) for state in STATES} == counted
            assert tally.total == sum(counted.values())


async def test_activity_is_of_the_last_hour_and_of_live_leases(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask(max_retries=0)] * 8)
    (old,) = await replica.claim(looms)
    await replica.finish(old)
    replica.clock.advance(HOUR / SECOND + 1)
    two, four, bad = await replica.claim(looms, count=3)
    replica.clock.advance(2)
    await replica.finish(two)
    replica.clock.advance(2)
    await replica.finish(four)
    await replica.finish(bad, result=Result(ok=False))
    await replica.claim(looms, "ann", count=2, lease=10 * SECOND)
    await replica.claim(looms, "bob", lease=100 * SECOND)
    seen = await replica.fabric.projects.activity(looms.id)
    assert (seen.succeeded, seen.failed, seen.mean_seconds, seen.workers) == (2, 1, 3.0, 2)
    replica.clock.advance(11)
    assert (await replica.fabric.projects.activity(looms.id)).workers == 1
    empty = await replica.fabric.projects.activity("nowhere")
    assert (empty.succeeded, empty.failed, empty.mean_seconds, empty.workers) == (0, 0, 0.0, 0)


async def test_what_could_be_claimed_is_counted(replica: Replica) -> None:
    looms = await replica.project()
    now = replica.clock()
    await replica.submit(looms, *[NewTask()] * 5, NewTask(not_before=now + 5 * SECOND))
    assert await replica.fabric.projects.claimable(looms.id) == 5
    await replica.claim(looms, count=2, lease=5 * SECOND)
    assert await replica.fabric.projects.claimable(looms.id) == 3
    replica.clock.advance(5)
    assert await replica.fabric.projects.claimable(looms.id) == 6
    assert len(await replica.claim(looms, count=9)) == 6


async def test_busy_projects_are_those_in_which_something_runs(replica: Replica) -> None:
    looms, _ = await replica.project(), await replica.project("idle")
    await replica.submit(looms)
    assert await replica.store.read(lambda tx: tx.busy_projects()) == []
    (task,) = await replica.claim(looms)
    assert await replica.store.read(lambda tx: tx.busy_projects()) == [looms.id]
    await replica.finish(task)
    assert await replica.store.read(lambda tx: tx.busy_projects()) == []

"""Lists of tasks on every store: order, filters, pages, and how long they are."""

from __future__ import annotations

from itertools import product

from tests.adapters.replica import Replica, named
from tests.core.stage import ANN
from treadle.core.catalogue import NewType
from treadle.core.ports import Filter
from treadle.core.submitting import NewTask
from treadle.core.tasks import STATES, Result, State, Task


async def many(replica: Replica) -> tuple[str, list[Task]]:
    """Forty tasks in every state, of two types and none, in two batches and none, some held by two workers."""
    looms = await replica.project()
    for name in ("weave", "knit"):
        await replica.type(looms, NewType(name=name, max_retries=0))
    kinds = list(product((None, "weave", "knit"), (None, "b1", "b2")))
    new = [NewTask(name=f"n{n}", type=kinds[n % 9][0], batch=kinds[n % 9][1], max_retries=0) for n in range(40)]
    await replica.submit(looms, *new)
    elsewhere = await replica.project("other")
    await replica.submit(elsewhere, NewTask(batch="b1"), NewTask())
    for place, task in enumerate(await replica.claim(looms, "ann", count=25)):
        if place % 5 == 1:
            await replica.finish(task)
        elif place % 5 == 2:
            await replica.finish(task, result=Result(ok=False))
        elif place % 5 == 3:
            await replica.fabric.tasks.cancel(task.id, ANN)
    await replica.claim(looms, "bob", count=5)
    return looms.id, await replica.store.read(lambda tx: tx.list_tasks(Filter(project=looms.id), 100, 0))


async def test_every_filter_shows_what_it_says(replica: Replica) -> None:
    project, everything = await many(replica)
    assert named(everything) == [f"n{n}" for n in range(40)]
    types = {task.type for task in everything}
    states: list[tuple[State, ...] | None] = [None, *[(state,) for state in STATES], ("running", "failed", "queued")]
    for chosen, worker, batch, type in product(states, (None, "ann", "bob"), (None, "b1", "b3"), types):
        which = Filter(project=project, states=chosen, worker=worker, batch=batch, type=type)
        right = [
            task
            for task in everything
            if (chosen is None or task.state in chosen)
            and (worker is None or (task.lease is not None and task.lease.worker == worker))
            and (batch is None or task.batch == batch)
            and (type is None or task.type == type)
        ]
        assert await replica.fabric.tasks.page(which, 100) == right, which
        assert await replica.fabric.tasks.count(which) == len(right), which


async def test_pages_add_up_to_the_list(replica: Replica) -> None:
    project, everything = await many(replica)
    for chosen in (None, ("queued",), ("queued", "running", "succeeded")):
        which = Filter(project=project, states=chosen)
        right = [task for task in everything if chosen is None or task.state in chosen]
        pages = [await replica.fabric.tasks.page(which, 7, offset) for offset in range(0, 49, 7)]
        assert [task for page in pages for task in page] == right
        assert await replica.fabric.tasks.page(which, 0) == []
        assert await replica.fabric.tasks.page(which, 5, 1000) == []


async def test_an_unknown_project_has_no_tasks(replica: Replica) -> None:
    assert await replica.fabric.tasks.page(Filter(project="nowhere")) == []
    assert await replica.fabric.tasks.count(Filter(project="nowhere")) == 0

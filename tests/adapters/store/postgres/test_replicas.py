"""Two replicas on one PostgreSQL: nothing is given out twice, decided twice or missed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.core.catalogue import NewType, ProjectEdit, TypeEdit
from treadle.core.clock import SECOND
from treadle.core.documents import Collection
from treadle.core.errors import Conflict, Duplicate, FabricError, Invalid, NotFound, ProjectClosed, WrongState
from treadle.core.events import Event
from treadle.core.ports import Filter, Tx
from treadle.core.projects import Duplicates, Project
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import STATES, Task

pytestmark = pytest.mark.needs("postgres")
Pair = tuple[Replica, Replica]
numbers = Collection("numbers", int)


async def race(replicas: Pair, verb: Callable[[Replica], Awaitable[object]], each: int = 1) -> list[object]:
    """The verb at both replicas at once; the outcomes, errors included."""
    return await asyncio.gather(*[verb(replica) for _ in range(each) for replica in replicas], return_exceptions=True)


async def test_nothing_is_claimed_twice(replicas: Pair) -> None:
    looms = await replicas[0].project()
    await replicas[0].submit(looms, *[NewTask() for _ in range(300)])

    async def drain(place: int) -> list[Task]:
        replica, taken = replicas[place % 2], []
        while got := await replica.claim(looms, f"w{place}", count=place % 3 + 1):
            taken += got
            for task in got:
                await replicas[(place + 1) % 2].finish(task)  # any replica takes the result
        return taken

    taken = [task.id for tasks in await asyncio.gather(*map(drain, range(12))) for task in tasks]
    assert len(taken) == len(set(taken)) == 300
    assert (await replicas[1].tally(looms)).succeeded == 300


async def test_an_expired_lease_is_swept_once(replicas: Pair) -> None:
    looms = await replicas[0].project()
    await replicas[0].submit(looms, *[NewTask(max_retries=9) for _ in range(40)])
    await replicas[0].claim(looms, count=40, lease=SECOND)
    replicas[0].clock.advance(2)
    swept = [task.id for tasks in await race(replicas, lambda r: r.fabric.tasks.sweep(looms.id), 3) for task in tasks]  # type: ignore[attr-defined]
    assert len(swept) == len(set(swept)) == 40
    assert {task.retries for task in await replicas[0].claim(looms, count=40)} == {1}


async def test_a_task_ends_once(replicas: Pair) -> None:
    looms = await replicas[0].project()
    made = await replicas[0].submit(looms, *[NewTask() for _ in range(40)])
    held = {task.id: task for task in await replicas[0].claim(looms, count=20)}
    for task in made:
        if task.id in held:
            ends = await race(replicas, lambda r, task=held[task.id]: r.finish(task))  # type: ignore[misc]
        else:
            ends = await race(replicas, lambda r, id=task.id: r.fabric.tasks.cancel(id, ANN))  # type: ignore[misc]
        assert {type(end) for end in ends} == {Task, WrongState}, ends
    tally = await replicas[0].tally(looms)
    assert (tally.total, tally.succeeded, tally.cancelled) == (40, 20, 20)


async def test_a_worker_that_asks_both_gets_one_task(replicas: Pair) -> None:
    looms = await replicas[0].project()
    await replicas[0].submit(looms, *[NewTask() for _ in range(50)])
    for worker in range(10):
        got = await race(replicas, lambda r, w=worker: r.resume(looms, f"w{w}", "h"))  # type: ignore[misc]
        assert len({task.id for task in got if isinstance(task, Task)}) == 1, got
    assert (await replicas[0].tally(looms)).running == 10


@pytest.mark.parametrize("how", ["ignore", "fail"])
async def test_duplicates_are_seen_across_replicas(replicas: Pair, how: Duplicates) -> None:
    looms = await replicas[0].project()
    await replicas[0].type(looms, NewType(name="once", duplicates=how))
    for n in range(15):
        call = Submit(project=looms.id, tasks=[NewTask(type="once", variables={"n": n})], by=ANN)
        got = await race(replicas, lambda r, call=call: r.fabric.tasks.submit(call), 2)  # type: ignore[misc]
        made = [outcome[0].id for outcome in got if isinstance(outcome, list)]
        assert len(set(made)) == 1
        assert len(made) == (4 if how == "ignore" else 1)
        assert all(isinstance(outcome, list | Duplicate) for outcome in got)
    assert (await replicas[0].tally(looms)).total == 15


async def test_crossed_duplicates_get_unstuck(replicas: Pair) -> None:
    looms = await replicas[0].project()
    await replicas[0].type(looms, NewType(name="once", duplicates="ignore"))
    new = [NewTask(type="once", variables={"n": n}) for n in range(400)]
    forth = Submit(project=looms.id, tasks=new, by=ANN)
    back = Submit(project=looms.id, tasks=new[::-1], by=ANN)
    few = [Submit(project=looms.id, tasks=new[n : n + 3], by=ANN) for n in range(0, 60, 3)]
    calls = [(replicas[0], forth), (replicas[1], back), *[(replicas[n % 2], call) for n, call in enumerate(few)]]
    await asyncio.gather(*[replica.fabric.tasks.submit(call) for replica, call in calls])
    assert (await replicas[0].tally(looms)).total == 400


async def test_a_name_is_taken_once(replicas: Pair) -> None:
    looms = await replicas[0].project()
    for n in range(15):
        got = await race(replicas, lambda r, n=n: r.submit(looms, NewTask(name=f"n{n}")), 2)  # type: ignore[misc]
        assert [isinstance(outcome, Duplicate) for outcome in got].count(True) == 3, got
    assert (await replicas[0].tally(looms)).total == 15


async def test_an_idempotency_key_works_once(replicas: Pair) -> None:
    looms = await replicas[0].project()
    for n in range(15):
        call = Submit(project=looms.id, tasks=[NewTask()], by=ANN, key=f"k{n}")
        got = await race(replicas, lambda r, call=call: r.fabric.tasks.submit(call), 2)  # type: ignore[misc]
        assert len({outcome[0].id for outcome in got if isinstance(outcome, list)}) == 1, got
        assert len(got) == 4
    assert (await replicas[0].tally(looms)).total == 15


async def test_projects_and_types_are_named_once(replicas: Pair) -> None:
    for n in range(8):
        got = await race(replicas, lambda r, n=n: r.project(f"p{n}"), 2)  # type: ignore[misc]
        assert [isinstance(outcome, Project) for outcome in got].count(True) == 1, got
        assert [isinstance(outcome, Duplicate) for outcome in got].count(True) == 3
    looms = (await replicas[0].fabric.projects.get("p0")).project
    for n in range(8):
        got = await race(replicas, lambda r, n=n: r.type(looms, NewType(name=f"t{n}")), 2)  # type: ignore[misc]
        assert [isinstance(outcome, Duplicate) for outcome in got].count(True) == 3, got
    names = await race(replicas, lambda r: r.fabric.projects.change("p1", ProjectEdit(name="taken"), ANN))
    assert [isinstance(name, FabricError) for name in names].count(True) == 1


async def test_changes_of_the_catalogue_do_not_get_stuck_in_the_work(replicas: Pair) -> None:
    looms = await replicas[0].project()
    weave = await replicas[0].type(looms, NewType(name="weave"))

    async def work(replica: Replica, worker: str) -> None:
        for _ in range(15):
            await replica.submit(looms, NewTask(type="weave"))
            for task in await replica.claim(looms, worker):
                await replica.finish(task)

    async def change(replica: Replica) -> None:
        for n in range(15):
            await replica.fabric.projects.change_type(weave.id, TypeEdit(lease=(n + 1) * SECOND), ANN)
            await replica.fabric.projects.change(looms.id, ProjectEdit(description=str(n)), ANN)

    async with asyncio.timeout(30):
        await asyncio.gather(*[work(r, f"w{n}") for n in range(4) for r in replicas], *map(change, replicas))
    assert (await replicas[0].tally(looms)).succeeded == 120


async def test_what_one_replica_remembers_ends_when_another_changes_it(replicas: Pair) -> None:
    here, there = replicas
    looms = await here.project()
    weave = await here.type(looms, NewType(name="weave", lease=5 * SECOND, max_retries=0))
    for n in range(3):
        await here.submit(looms, NewTask(type="weave"))
        change = TypeEdit(lease=(n + 6) * SECOND, max_retries=n + 1)
        await there.fabric.projects.change_type(weave.id, change, ANN)
        (claimed,) = await here.claim(looms)
        assert claimed.lease
        assert claimed.lease.until == here.clock() + (n + 6) * SECOND
        (made,) = await here.submit(looms, NewTask(type=weave.id))
        assert made.max_retries == n + 1
        await here.claim(looms)
    await there.fabric.projects.change_type(weave.id, TypeEdit(name="knit", template="{{yarn}}"), ANN)
    with pytest.raises(NotFound):
        await here.submit(looms, NewTask(type="weave"))
    with pytest.raises(Invalid, match="yarn"):
        await here.submit(looms, NewTask(type="knit"))
    await there.fabric.projects.change(looms.id, ProjectEdit(state="closed"), ANN)
    with pytest.raises(ProjectClosed):
        await here.claim(looms)
    await there.fabric.projects.change(looms.id, ProjectEdit(state="active"), ANN)
    assert await here.claim(looms) == []
    await there.fabric.projects.remove(looms.id, ANN)
    with pytest.raises(NotFound):
        await here.submit(looms)
    again = await there.project()
    (made,) = await here.fabric.tasks.submit(Submit(project="looms", tasks=[NewTask()], by=ANN))
    assert isinstance(made, Task)
    assert made.project == again.id != looms.id


async def test_nothing_is_put_into_a_project_that_is_being_closed_or_removed(replicas: Pair) -> None:
    for n in range(6):
        looms = await replicas[0].project(f"p{n}")

        async def fill(replica: Replica, looms: Project = looms) -> int:
            made = 0
            while True:
                try:
                    made += len(await replica.submit(looms, NewTask(), NewTask()))
                except (NotFound, ProjectClosed):
                    return made

        async def end(looms: Project = looms, n: int = n) -> None:
            await asyncio.sleep(0.01)
            if n % 2:
                await replicas[1].fabric.projects.remove(looms.id, ANN)
            else:
                await replicas[1].fabric.projects.change(looms.id, ProjectEdit(state="closed"), ANN)

        made = await asyncio.gather(fill(replicas[0]), fill(replicas[0]), end())
        left = await replicas[0].fabric.tasks.page(Filter(project=looms.id), limit=10_000)
        assert len(left) == (0 if n % 2 else made[0] + made[1])


async def test_a_type_is_removed_or_used_but_not_both(replicas: Pair) -> None:
    looms = await replicas[0].project()
    for n in range(10):
        weave = await replicas[0].type(looms, NewType(name=f"t{n}"))
        made, removed = await asyncio.gather(
            replicas[0].submit(looms, NewTask(type=weave.id)),
            replicas[1].fabric.projects.remove_type(weave.id, ANN),
            return_exceptions=True,
        )
        assert isinstance(made, NotFound) != isinstance(removed, Conflict), (made, removed)


async def test_documents_lose_no_update(replicas: Pair) -> None:
    def add(tx: Tx) -> int:
        stored = numbers.get(tx, "sum")
        return numbers.put(tx, "sum", (stored.value if stored else 0) + 1)

    async def add_often(replica: Replica) -> list[int]:
        return [await replica.store.write(add) for _ in range(30)]

    versions = [version for many in await race(replicas, add_often, 2) for version in many]  # type: ignore[attr-defined]
    assert sorted(versions) == list(range(1, 121))


async def test_one_of_both_has_the_turn(replicas: Pair) -> None:
    def take(tx: Tx) -> bool:
        if numbers.get(tx, "turn") is not None:
            return False
        numbers.put(tx, "turn", 1)
        return True

    assert (await race(replicas, lambda r: r.store.write(take), 5)).count(True) == 1


async def test_counters_of_all_replicas_add_up(replicas: Pair) -> None:
    looms = await replicas[0].project()

    async def work(replica: Replica) -> None:
        for n in range(20):
            (task,) = await replica.submit(looms, NewTask())
            if n % 2:
                await replica.fabric.tasks.cancel(task.id, ANN)

    await race(replicas, work, 3)
    tallies = [await replica.tally(looms) for replica in replicas]
    assert tallies[0] == tallies[1]
    assert [tallies[0].of(state) for state in STATES] == [60, 0, 0, 0, 60]


async def test_a_follower_misses_nothing_of_either(replicas: Pair) -> None:
    """Facts of transactions that commit in another order than they began; the cursor waits for them."""
    written = 60
    never = threading.Event()

    def slow(n: int, pause: float) -> Callable[[Tx], None]:
        def verb(tx: Tx) -> None:
            tx.append_events([Event("task.changed", f"{n}-{part}", 1) for part in range(3)])
            numbers.put(tx, f"{n}", 1)
            numbers.get(tx, f"{n}")  # a question: the transaction has its number now, and stays open for a while
            never.wait(pause)

        return verb

    async def write(place: int) -> None:
        for n in range(written // 2):
            await replicas[place].store.write(slow(n * 2 + place, 0.003 * ((n + place) % 3)))

    async def follow(replica: Replica) -> list[Event]:
        seen: list[Event] = []
        async with aclosing(replica.fabric.events.follow(0)) as facts:
            async for event in facts:
                seen.append(event)
                if len(seen) == written * 3:
                    return seen
        return seen

    async with asyncio.timeout(30):
        seen, again, *_ = await asyncio.gather(follow(replicas[0]), follow(replicas[1]), write(0), write(1))
    assert seen == again
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})
    assert {event.subject for event in seen} == {f"{n}-{part}" for n in range(written) for part in range(3)}

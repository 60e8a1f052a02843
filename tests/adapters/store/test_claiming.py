"""Claims on every store: order, one holder at a time, fences, resuming by name, leases that run out."""

from __future__ import annotations

import asyncio

import pytest

from tests.adapters.replica import Replica, named
from tests.core.stage import ANN
from treadle.core.catalogue import NewType, ProjectEdit
from treadle.core.clock import SECOND
from treadle.core.errors import LeaseLost, NotFound, ProjectClosed, WrongState
from treadle.core.leases import Claim, Extend, Finish, Release
from treadle.core.ports import Filter
from treadle.core.submitting import NewTask
from treadle.core.tasks import Hold, Result


async def test_priority_goes_first_then_age_and_a_requeued_task_keeps_its_place(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask(name=n, priority=p) for n, p in [("a", 0), ("b", 5), ("c", 0), ("d", 5)]])
    (first,) = await replica.claim(looms)
    assert first.name == "b"
    await replica.fabric.tasks.cancel(first.id, ANN)
    await replica.fabric.tasks.requeue(first.id, ANN)
    assert named(await replica.claim(looms, count=9)) == ["b", "d", "a", "c"]
    assert await replica.claim(looms) == []


async def test_queues_of_a_project_do_not_mix(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(name="plain"), NewTask(name="night", queue="night"))
    other = await replica.project("other")
    got = await replica.fabric.tasks.claim(Claim(project=looms.id, worker="w", queue="night", count=5))
    assert named(got) == ["night"]
    assert await replica.claim(other) == []
    assert named(await replica.claim(looms, count=5)) == ["plain"]


async def test_many_claims_at_once_never_share_a_task(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask() for _ in range(150)])
    got = await asyncio.gather(*[replica.claim(looms, f"w{n % 7}", count=n % 4 + 1) for n in range(80)])
    ids = [task.id for tasks in got for task in tasks]
    assert len(ids) == len(set(ids)) == 150
    assert (await replica.tally(looms)).running == 150
    held = await replica.fabric.tasks.page(Filter(project=looms.id, worker="w3"), limit=200)
    assert {task.id for task in held} == {task.id for n, tasks in enumerate(got) if n % 7 == 3 for task in tasks}


async def test_the_fence_grows_at_each_assignment_and_former_holders_are_refused(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms)
    (first,) = await replica.claim(looms, "slow", lease=10 * SECOND)
    replica.clock.advance(11)
    (second,) = await replica.claim(looms, "quick")
    assert (second.id, second.fence > first.fence) == (first.id, True)
    for stale in (Hold(fence=first.fence), Hold(worker="slow")):
        with pytest.raises(LeaseLost):
            await replica.finish(first, stale)
    assert (await replica.finish(second, Hold(worker="quick", fence=second.fence))).state == "succeeded"
    with pytest.raises(WrongState):
        await replica.finish(second)


async def test_who_resumes_by_name_gets_their_task_and_the_lease_passes_to_them(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(), NewTask())
    before = await replica.resume(looms, "ann", "first")
    again = await replica.resume(looms, "ann", "first")
    after = await replica.resume(looms, "ann", "second")
    assert before
    assert after
    assert (again, after.id, after.fence > before.fence) == (before, before.id, True)
    assert before.lease
    assert after.lease
    assert after.lease.until == before.lease.until
    with pytest.raises(LeaseLost):
        await replica.finish(before, Hold(worker="ann", holder="first"))
    # a session that never held the lease may hand in: the name is the holder's
    assert (await replica.finish(after, Hold(worker="ann", holder="never seen"))).state == "succeeded"
    assert await replica.resume(looms, "ann", "second") not in (None, after)


async def test_a_worker_that_asks_twice_at_once_gets_one_task(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask() for _ in range(5)])
    got = await asyncio.gather(*[replica.resume(looms, "ann", f"s{n}") for n in range(20)])
    assert len({task.id for task in got if task}) == 1
    assert (await replica.tally(looms)).running == 1


async def test_an_expired_lease_is_claimable_at_once_and_the_loss_counts(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(max_retries=3))
    await replica.claim(looms, "slow", lease=10 * SECOND)
    assert await replica.claim(looms, "quick") == []
    replica.clock.advance(10)
    assert await replica.fabric.projects.claimable(looms.id) == 1
    (task,) = await replica.claim(looms, "quick")
    assert (task.retries, [attempt.state for attempt in task.history()]) == (1, ["lost", "running"])


async def test_a_late_result_counts_until_the_lease_is_swept(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(), NewTask())
    late, lost = await replica.claim(looms, count=2, lease=10 * SECOND)
    replica.clock.advance(60)
    assert (await replica.finish(late)).state == "succeeded"
    assert [task.id for task in await replica.fabric.tasks.sweep(looms.id)] == [lost.id]
    with pytest.raises(WrongState):
        await replica.finish(lost)
    assert (await replica.fabric.tasks.get(lost.id)).state == "queued"


async def test_a_task_that_kills_its_workers_ends(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(max_retries=2))
    claims = 0
    while await replica.claim(looms, lease=SECOND):
        claims += 1
        replica.clock.advance(2)
    (task,) = await replica.fabric.tasks.page(Filter(project=looms.id))
    assert (claims, task.state, len(task.history())) == (3, "failed", 3)
    assert task.result
    assert task.result.reason == "lost"


async def test_what_is_lost_fails_at_once_where_its_submitter_asked_for_that(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(max_retries=5, on_lost="fail"))
    await replica.claim(looms, lease=SECOND)
    replica.clock.advance(2)
    assert await replica.claim(looms) == []
    assert (await replica.tally(looms)).failed == 1


async def test_a_task_waits_for_its_time(replica: Replica) -> None:
    looms = await replica.project()
    now = replica.clock()
    await replica.submit(looms, NewTask(name="later", not_before=now + 60 * SECOND, priority=9), NewTask(name="now"))
    assert await replica.fabric.projects.claimable(looms.id) == 1
    assert named(await replica.claim(looms, count=5)) == ["now"]
    replica.clock.advance(60)
    assert await replica.fabric.projects.claimable(looms.id) == 1
    assert named(await replica.claim(looms, count=5)) == ["later"]


async def test_a_failed_try_goes_back_while_retries_are_left_and_wanted(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(max_retries=1), NewTask(max_retries=1))
    again, never = await replica.claim(looms, count=2)
    wanted = Result(ok=False, error="jammed", retry=True)
    assert (await replica.finish(again, result=wanted)).state == "queued"
    assert (await replica.finish(never, result=Result(ok=False, error="burnt", retry=False))).state == "failed"
    (again,) = await replica.claim(looms)
    ended = await replica.finish(again, result=wanted)
    assert (ended.state, ended.retries, ended.result) == ("failed", 2, wanted)
    stored = await replica.fabric.tasks.get(again.id)
    assert stored == ended
    assert [attempt.result for attempt in stored.history()] == [wanted, wanted]


async def test_a_released_task_goes_back_unharmed_to_its_place(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, NewTask(name="a"), NewTask(name="b"))
    (task,) = await replica.claim(looms)
    back = await replica.fabric.tasks.release(Release(task=task.id, by=Hold(fence=task.fence)))
    assert (back.state, back.retries) == ("queued", 0)
    assert named(await replica.claim(looms, count=2)) == ["a", "b"]


async def test_extending_moves_the_end_and_only_for_the_holder(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms)
    (task,) = await replica.claim(looms, "ann", lease=10 * SECOND)
    extended = await replica.fabric.tasks.extend(Extend(task=task.id, by=Hold(worker="ann"), add=50 * SECOND))
    assert extended.lease
    assert extended.lease.until == replica.clock() + 60 * SECOND
    with pytest.raises(LeaseLost):
        await replica.fabric.tasks.extend(Extend(task=task.id, by=Hold(worker="bob"), add=SECOND))
    replica.clock.advance(30)
    assert await replica.claim(looms, "bob") == []


async def test_a_type_says_how_long_its_leases_are_when_they_are_taken(replica: Replica) -> None:
    looms = await replica.project()
    short = await replica.type(looms, NewType(name="short", lease=7 * SECOND))
    await replica.submit(looms, NewTask(type="short"))
    (task,) = await replica.claim(looms)
    assert task.type == short.id
    assert task.lease
    assert task.lease.until == replica.clock() + 7 * SECOND


async def test_calls_of_one_ride_each_get_their_own_answer(replica: Replica) -> None:
    looms = await replica.project()
    shut = await replica.project("shut")
    await replica.submit(looms, NewTask(), NewTask())
    await replica.fabric.projects.change(shut.id, ProjectEdit(state="closed"), ANN)
    claims = [Claim(project=ref, worker="w") for ref in (looms.id, "nowhere", shut.id, "looms", looms.id)]
    first, nowhere, closed, second, third = await asyncio.gather(
        *map(replica.fabric.tasks.claim, claims), return_exceptions=True
    )
    assert isinstance(nowhere, NotFound)
    assert isinstance(closed, ProjectClosed)
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert (len(first), len(second), third) == (1, 1, [])
    ends = [Finish(task=id, by=Hold(), result=Result(ok=True)) for id in (first[0].id, "nothing", first[0].id)]
    ended, nothing, twice = await asyncio.gather(*map(replica.fabric.tasks.finish, ends), return_exceptions=True)
    assert not isinstance(ended, BaseException)
    assert ended.state == "succeeded"
    assert isinstance(nothing, NotFound)
    assert isinstance(twice, WrongState)

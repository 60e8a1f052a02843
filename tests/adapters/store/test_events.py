"""The log of facts on every store: one cursor, in order, without gaps, never backwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.adapters.conftest import OpenStore
from tests.adapters.replica import Replica, follow
from tests.core.stage import ANN, HandClock
from treadle.core.catalogue import NewType
from treadle.core.events import Event
from treadle.core.ports import Store, Tx
from treadle.core.submitting import NewTask


def fact(subject: str, at: int = 1, project: str | None = None) -> Event:
    return Event("task.changed", subject, at, project, {"said": f'"{subject}" \\ ✓'})


async def test_facts_come_in_order_with_what_was_said(replica: Replica) -> None:
    facts = [fact(str(n), n, "p" if n % 2 else None) for n in range(20)]
    await replica.store.write(lambda tx: tx.append_events(facts[:15]))
    await replica.store.write(lambda tx: [tx.append_events([one]) for one in facts[15:]])
    seen = await follow(replica, 0, 20)
    assert [(e.kind, e.subject, e.at, e.project, e.data) for e in seen] == [
        (e.kind, e.subject, e.at, e.project, e.data) for e in facts
    ]
    cursors = [event.seq for event in seen]
    assert cursors == sorted(set(cursors))
    assert await replica.fabric.events.last() == cursors[-1]
    assert await replica.fabric.events.after(cursors[4], 3) == seen[5:8]
    assert await replica.fabric.events.after(cursors[4], 3, "p") == [seen[5], seen[7], seen[9]]
    assert await replica.fabric.events.after(cursors[-1]) == []


async def test_a_follower_of_busy_writers_sees_each_fact_once(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="t"))
    start = await replica.fabric.events.last()
    reading = asyncio.create_task(follow(replica, start, 3 * 120))

    async def work(worker: str) -> None:
        for _ in range(20):
            await replica.submit(looms, NewTask(type="t"))
            for task in await replica.claim(looms, worker):
                await replica.finish(task)

    await asyncio.gather(*[work(f"w{n}") for n in range(6)])
    seen = await reading
    facts = {(event.subject, event.kind) for event in seen}
    assert len(facts) == len(seen) == 360
    for subject in {event.subject for event in seen}:
        kinds = [event.kind for event in seen if event.subject == subject]
        assert kinds == ["task.submitted", "task.claimed", "task.succeeded"]


async def test_the_process_hears_of_each_commit_after_its_callers(store: Store) -> None:
    heard: list[str] = []
    store.on_commit = lambda facts: heard.extend(event.subject for event in facts)

    def refused(tx: Tx) -> None:
        tx.append_events([fact("refused")])
        raise ValueError

    writes = [store.write(lambda tx, n=n: tx.append_events([fact(str(n))])) for n in range(5)]
    answered: list[bool] = []
    writes[-1].add_done_callback(lambda _: answered.append("4" in heard))
    spoilt = store.write(refused)
    await asyncio.gather(*writes)
    with pytest.raises(ValueError):  # noqa: PT011 - the verb's own
        await spoilt
    assert heard == ["0", "1", "2", "3", "4"]


async def test_pruning_keeps_the_newest_fact_and_cursors_go_on(open_store: OpenStore) -> None:
    store = await open_store()
    replica = Replica(store)
    await store.write(lambda tx: tx.append_events([fact(str(n), at=n) for n in range(10)]))
    seen = await follow(replica, 0, 10)
    assert [await store.write(lambda tx: tx.prune_events(100, 6)) for _ in range(3)] == [6, 3, 0]
    assert await replica.fabric.events.after(0) == seen[-1:]
    await store.close()
    store = await open_store()
    replica = Replica(store, HandClock())
    await store.write(lambda tx: tx.append_events([fact("new", at=5)]))
    assert (await follow(replica, seen[-1].seq, 1))[0].subject == "new"
    assert await store.write(lambda tx: tx.prune_events(5, 100)) == 0  # the one that stands is younger


async def test_pruning_takes_only_what_is_old(store: Store) -> None:
    await store.write(lambda tx: tx.append_events([fact(str(n), at=n) for n in range(10)]))
    assert await store.write(lambda tx: tx.prune_events(4, 100)) == 4
    assert [event.subject for event in await follow(Replica(store), 0, 6)] == ["4", "5", "6", "7", "8", "9"]


async def test_verbs_tell_what_they_did(replica: Replica) -> None:
    looms = await replica.project()
    (task,) = await replica.submit(looms)
    await replica.fabric.tasks.cancel(task.id, ANN)
    await replica.fabric.tasks.requeue(task.id, ANN)
    await replica.claim(looms, "ann", lease=1)
    replica.clock.advance(1)
    await replica.fabric.tasks.sweep(looms.id)
    seen = await follow(replica, 0, 6, looms.id)
    assert [event.kind for event in seen] == [
        "project.created",
        "task.submitted",
        "task.cancelled",
        "task.requeued",
        "task.claimed",
        "task.lost",
    ]

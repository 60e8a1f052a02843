"""Transactions on every store: many verbs to a commit, each all or nothing, every answer on disk, an orderly end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.adapters.conftest import OpenStore
from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.core.documents import Collection
from treadle.core.errors import NotFound, StoreUnavailable
from treadle.core.events import Event
from treadle.core.ports import Filter, Store, Tx
from treadle.core.submitting import NewTask
from treadle.core.tasks import Task

numbers = Collection("numbers", int)


class Jammed(Exception):
    """A verb's own trouble."""


def put(key: str, value: int = 1, *, then: Exception | None = None):  # type: ignore[no-untyped-def]
    def verb(tx: Tx) -> str:
        numbers.put(tx, key, value)
        tx.append_events([Event("task.changed", key, 1)])
        if then is not None:
            raise then
        return key

    return verb


async def held_up(store: Store) -> threading.Event:
    """Keeps the writing thread busy until the event is set, so that what is written next shares one commit."""
    started, go = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        started.set()
        go.wait(10)

    store.write(wait)
    await asyncio.to_thread(started.wait, 10)
    return go


async def test_a_verb_that_raises_leaves_no_trace_and_its_neighbours_commit(store: Store) -> None:
    heard: list[str] = []
    store.on_commit = lambda facts: heard.extend(event.subject for event in facts)
    go = await held_up(store)
    writes = [store.write(put(f"k{n}", then=Jammed(str(n)) if n % 3 == 0 else None)) for n in range(12)]
    go.set()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    right = [f"k{n}" for n in range(12) if n % 3]
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == right
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, Jammed)] == ["0", "3", "6", "9"]
    assert await store.read(lambda tx: [stored.key for stored in numbers.page(tx)]) == sorted(right)
    assert sorted(heard) == sorted(right)


async def test_a_refusal_before_anything_was_written_costs_nobody_anything(store: Store) -> None:
    runs: list[str] = []

    def refused(tx: Tx) -> None:
        runs.append("refused")
        assert numbers.get(tx, "nothing") is None
        raise NotFound("Number", "nothing")

    def neighbour(tx: Tx) -> None:
        runs.append("neighbour")
        numbers.put(tx, "n", 1)

    go = await held_up(store)
    writes = [store.write(refused), store.write(neighbour), store.write(refused)]
    go.set()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotFound, type(None), NotFound]
    assert runs == ["refused", "neighbour", "refused"]


async def test_verbs_of_one_commit_see_each_other_in_order(store: Store) -> None:
    go = await held_up(store)

    def look(tx: Tx) -> int | None:
        stored = numbers.get(tx, "n")
        return stored.value if stored else None

    answers = [store.write(look)]
    for value in range(3):
        store.write(put("n", value))
        answers.append(store.write(look))
    go.set()
    assert await asyncio.gather(*answers) == [None, 0, 1, 2]


async def test_a_read_sees_every_write_that_was_answered(store: Store) -> None:
    for value in range(50):
        await store.write(put("n", value))
        seen = await asyncio.gather(*[store.read(lambda tx: numbers.get(tx, "n")) for _ in range(4)])
        assert {stored.value for stored in seen if stored} == {value}


async def test_a_read_is_one_moment(store: Store) -> None:
    """Nothing changes under a query, however long it looks."""
    await store.write(put("n", 1))
    looked, go = threading.Event(), threading.Event()

    def twice(tx: Tx) -> tuple[object, object]:
        first = numbers.get(tx, "n")
        looked.set()
        go.wait(10)
        return first, numbers.get(tx, "n")

    reading = store.read(twice)
    await asyncio.to_thread(looked.wait, 10)
    await store.write(put("n", 2))
    go.set()
    first, second = await reading
    assert first == second


async def test_a_query_that_raises_does_not_disturb_the_next(store: Store) -> None:
    def broken(tx: Tx) -> None:
        numbers.get(tx, "n")
        raise Jammed

    outcomes = await asyncio.gather(
        *[store.read(broken if n % 2 else lambda tx: len(numbers.page(tx))) for n in range(10)], return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [int, Jammed] * 5


async def test_even_a_verb_that_runs_dry_leaves_its_neighbours_alone(store: Store) -> None:
    go = await held_up(store)
    dry, fine = store.write(lambda tx: next(iter(numbers.page(tx)))), store.write(put("a"))
    go.set()
    with pytest.raises(RuntimeError, match="StopIteration"):
        await dry
    assert await fine == "a"


async def test_a_cancelled_caller_leaves_the_others_alone(store: Store) -> None:
    go = await held_up(store)
    gone, stays = store.write(put("a")), store.write(put("b"))
    gone.cancel()
    go.set()
    assert await stays == "b"


async def test_what_was_answered_is_there_after_a_restart(open_store: OpenStore) -> None:
    replica = Replica(await open_store())
    looms = await replica.project()
    made = await replica.submit(looms, *[NewTask(name=f"n{n}") for n in range(5)])
    (held,) = await replica.claim(looms)
    await replica.store.close()
    again = Replica(await open_store(), replica.clock)
    assert await again.fabric.tasks.page(Filter(project=looms.id)) == [held, *made[1:]]
    (later,) = await again.submit(looms)
    assert later.seq > made[-1].seq
    assert (await again.finish(held)).state == "succeeded"
    assert (await again.tally(looms)).total == 6


async def test_closing_finishes_what_was_begun_and_refuses_the_rest(store: Store) -> None:
    go = await held_up(store)
    begun = [store.write(put(f"k{n}")) for n in range(5)]
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(closing, store.close())
    assert await asyncio.gather(*begun) == [f"k{n}" for n in range(5)]
    for refused in (store.write(put("late")), store.read(lambda tx: numbers.get(tx, "k0"))):
        with pytest.raises(StoreUnavailable, match="closed"):
            await refused
    await store.close()


async def test_only_one_of_many_cancels_wins(replica: Replica) -> None:
    looms = await replica.project()
    (task,) = await replica.submit(looms)
    outcomes = await asyncio.gather(
        *[replica.fabric.tasks.cancel(task.id, ANN, str(n)) for n in range(10)], return_exceptions=True
    )
    assert sum(isinstance(outcome, Task) for outcome in outcomes) == 1

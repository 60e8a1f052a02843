"""Transactions in each other's way: rolled back, run again, and everybody gets an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from tests.adapters.conftest import in_schema
from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.adapters.store.postgres import lanes, open_postgres
from treadle.core.documents import Collection
from treadle.core.errors import Invalid, StoreUnavailable
from treadle.core.events import Event
from treadle.core.ports import Tx
from treadle.core.submitting import NewTask

pytestmark = pytest.mark.needs("postgres")
Pair = tuple[Replica, Replica]
numbers = Collection("numbers", int)


async def test_a_deadlock_ends_with_both_done(replicas: Pair) -> None:
    looms = await replicas[0].project()
    made = await replicas[0].submit(looms, NewTask(), NewTask())
    meet = threading.Barrier(2)
    runs: list[int] = []

    def crossed(first: int) -> Callable[[Tx], int]:
        def verb(tx: Tx) -> int:
            tx.append_events([Event("task.changed", str(first), 1)])
            tx.tasks([made[first].id])
            runs.append(first)
            if runs.count(first) == 1:
                meet.wait(10)
            return len(tx.tasks([made[1 - first].id]))

        return verb

    heard: list[str] = []
    for replica in replicas:
        replica.store.on_commit = lambda facts: heard.extend(event.subject for event in facts)
    async with asyncio.timeout(20):
        got = await asyncio.gather(*[replica.store.write(crossed(n)) for n, replica in enumerate(replicas)])
    assert got == [1, 1]
    assert sorted(runs) in ([0, 0, 1], [0, 1, 1])
    assert sorted(heard) == ["0", "1"]


async def test_a_stranger_who_keeps_a_lock_does_not_keep_callers_for_ever(
    postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "CONFLICT_SECONDS", 0.3)
    url = in_schema(postgres_url, schema)
    store = await open_postgres(url)
    replica = Replica(store)
    looms = await replica.project()
    (task,) = await replica.submit(looms)
    await store.write(lambda tx: tx._line.tell("SET lock_timeout = '200ms'"))  # type: ignore[attr-defined]
    with psycopg.connect(url) as stranger:
        stranger.execute("SELECT * FROM progress FOR UPDATE")
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="in the way too often"):
                await replica.fabric.tasks.cancel(task.id, ANN)
            assert await replica.claim(looms) == []  # a claim takes what is free
            (other,) = await replica.submit(looms)
            assert await replica.claim(looms) != []
        stranger.rollback()
    assert other.seq > task.seq
    assert (await replica.fabric.tasks.cancel(task.id, ANN)).state == "cancelled"
    await store.close()


async def test_a_verb_that_is_always_overtaken_gives_up(replicas: Pair) -> None:
    first, second = replicas
    turn = iter(range(1000))

    def chased(tx: Tx) -> None:
        """Finds a number missing, and another replica puts it there before this one can."""
        n = next(turn)
        assert numbers.get(tx, f"n{n}") is None
        done = threading.Event()
        asyncio.run_coroutine_threadsafe(overtake(n, done), loop)
        assert done.wait(10)
        numbers.put(tx, f"n{n}", 1)

    async def overtake(n: int, done: threading.Event) -> None:
        await second.store.write(lambda tx: numbers.put(tx, f"n{n}", 2))
        done.set()

    loop = asyncio.get_running_loop()
    with pytest.raises(StoreUnavailable, match="in the way too often"):
        await first.store.write(chased)
    assert next(turn) == lanes.TRIES
    assert await first.store.read(lambda tx: {stored.value for stored in numbers.page(tx)}) == {2}


async def test_many_that_spoil_one_transaction_are_each_answered(replicas: Pair) -> None:
    replica, _ = replicas
    started, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        started.set()
        go.wait(10)

    def spoil(n: int) -> Callable[[Tx], None]:
        def verb(tx: Tx) -> None:
            numbers.put(tx, f"spoilt {n}", n)
            raise ValueError(n)

        return verb

    replica.store.write(hold)
    await asyncio.to_thread(started.wait, 10)
    asked = []
    for n in range(30):
        asked.append(replica.store.write(spoil(n)))
        asked.append(replica.store.write(lambda tx, n=n: numbers.put(tx, f"fine {n}", n)))
    go.set()
    got = await asyncio.gather(*asked, return_exceptions=True)
    assert got[1::2] == [1] * 30
    assert [str(error) for error in got[::2]] == [str(n) for n in range(30)]
    assert len(await replica.store.read(lambda tx: numbers.page(tx, limit=100))) == 30


async def test_a_statement_the_server_refuses_fails_its_own_verb_only(replicas: Pair) -> None:
    replica, _ = replicas
    looms = await replica.project()
    started, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        started.set()
        go.wait(10)

    replica.store.write(hold)
    await asyncio.to_thread(started.wait, 10)
    huge = replica.store.write(lambda tx: tx.add_tallies({(looms.id, "queued"): 2**63}))  # beyond a bigint
    made = asyncio.ensure_future(replica.submit(looms))
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(Invalid, match="out of range"):
        await huge
    assert len(await made) == 1
    assert (await replica.tally(looms)).total == 1


async def test_a_query_that_takes_too_long_is_ended(replicas: Pair) -> None:
    replica, _ = replicas

    def dawdle(tx: Tx) -> object:
        line = tx._line  # type: ignore[attr-defined]
        line.tell("SET LOCAL statement_timeout = '50ms'")
        return line.ask("SELECT pg_sleep(20)")

    for ask in (replica.store.read, replica.store.write):
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            await ask(dawdle)
    looms = await replica.project()
    assert (await replica.fabric.projects.get(looms.id)).project == looms


async def test_a_refusal_that_a_verb_hides_is_no_success(replicas: Pair) -> None:
    replica, _ = replicas
    looms = await replica.project()
    (task,) = await replica.submit(looms)

    def hide(tx: Tx) -> str:
        tx.tasks([task.id])
        with suppress(Exception):
            tx.add_tallies({(looms.id, "queued"): 2**63})
            tx.tallies([looms.id])
        return "all is well"

    with pytest.raises(StoreUnavailable, match="rolled back"):
        await replica.store.write(hide)
    assert len(await replica.submit(looms)) == 1

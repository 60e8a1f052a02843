"""Connections that break: verbs run again unless they were committed, and nothing happens twice in silence."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest

from tests.adapters.conftest import in_schema
from tests.adapters.servers import OwnPostgres
from tests.adapters.severing import Proxy
from treadle.adapters.store.postgres import PostgresStore, open_postgres
from treadle.core.documents import Collection, Stored
from treadle.core.errors import StoreUnavailable
from treadle.core.events import Event
from treadle.core.ports import Tx

pytestmark = pytest.mark.needs("postgres")
numbers = Collection("numbers", int)
Open = Callable[..., Awaitable[PostgresStore]]
Admin = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
async def opened(own_postgres: OwnPostgres, proxy: Proxy, schema: str) -> AsyncIterator[Open]:
    """Opens stores on the server that the test may stop."""
    stores: list[PostgresStore] = []

    async def another(url: str = "", patience: float = 20.0) -> PostgresStore:
        stores.append(await open_postgres(in_schema(url or own_postgres.url, schema), patience=patience))
        return stores[-1]

    yield another
    for store in stores:
        await store.close()


@pytest.fixture
async def proxy(own_postgres: OwnPostgres) -> AsyncIterator[Proxy]:
    async with Proxy(own_postgres.port) as proxy:
        yield proxy


@pytest.fixture
def admin(own_postgres: OwnPostgres) -> Iterator[Admin]:
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        yield connection


def terminate(admin: Admin, schema: str, query: str = "") -> object:
    """Ends the store's connections, or those that run this; how many there were."""
    ended = admin.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND query LIKE %s",
        (schema, f"%{query}%"),
    ).fetchone()
    assert ended
    return ended[0]


def add(key: str, runs: list[str] | None = None) -> Callable[[Tx], int]:
    """Counts up and tells of it; adds to `runs` each time it runs."""

    def verb(tx: Tx) -> int:
        if runs is not None:
            runs.append(key)
        stored = numbers.get(tx, key)
        tx.append_events([Event("task.changed", key, 1)])
        return numbers.put(tx, key, stored.value + 1 if stored else 1)

    return verb


async def value(store: PostgresStore, key: str) -> Stored[int] | None:
    return await store.read(lambda tx: numbers.get(tx, key))


async def test_connections_ended_while_idle_are_replaced(opened: Open, admin: Admin, schema: str) -> None:
    store = await opened()
    for n in range(1, 4):
        assert await store.write(add("n")) == n
        assert await asyncio.gather(*[value(store, "n") for _ in range(6)]) == [Stored("n", n, n)] * 6
        assert terminate(admin, schema) in (2, 3)


async def test_a_transaction_that_broke_runs_again(opened: Open, admin: Admin, schema: str) -> None:
    store = await opened()
    heard: list[str] = []
    store.on_commit = lambda facts: heard.extend(event.subject for event in facts)
    inside, go = threading.Event(), threading.Event()
    runs: list[str] = []

    def slow(tx: Tx) -> int:
        numbers.put(tx, "other", 1)
        assert numbers.get(tx, "other")
        inside.set()
        go.wait(10)
        return add("slow", runs)(tx)

    first = store.write(slow)
    await asyncio.to_thread(inside.wait, 10)
    assert terminate(admin, schema) == 1
    others = [store.write(add(f"k{n}", runs)) for n in range(3)]
    go.set()
    assert await asyncio.gather(first, *others) == [1, 1, 1, 1]
    assert runs.count("slow") == 2
    assert sorted(heard) == ["k0", "k1", "k2", "slow"]
    assert await value(store, "other") == Stored("other", 1, 1)


async def test_a_commit_that_took_effect_is_answered_and_not_repeated(opened: Open, proxy: Proxy) -> None:
    store = await opened(proxy.url)
    await store.write(add("n"))
    heard: list[str] = []
    store.on_commit = lambda facts: heard.extend(event.subject for event in facts)
    runs: list[str] = []

    def verb(tx: Tx) -> int:
        answer = add("n", runs)(tx)
        proxy.mute = True  # what was told and the commit go together now, and their answer is lost on its way
        return answer

    writing = store.write(verb)
    await asyncio.wait_for(proxy.swallowed.wait(), 10)
    proxy.hang_up()
    assert await writing == 2
    assert (runs, heard) == (["n"], ["n"])
    assert await value(store, "n") == Stored("n", 2, 2)


async def test_another_server_that_took_over_is_not_asked_for_the_fate_of_a_commit(
    opened: Open, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transactions may have the same numbers."""
    store = await opened(proxy.url)

    def verb(tx: Tx) -> int:
        answer = add("n")(tx)
        proxy.mute = True
        return answer

    await store.write(add("n"))
    writing = store.write(verb)
    await asyncio.wait_for(proxy.swallowed.wait(), 10)
    monkeypatch.setattr("treadle.adapters.store.postgres.schema.HISTORY", "SELECT 'another cluster'")
    proxy.hang_up()
    with pytest.raises(StoreUnavailable, match="not known"):
        await writing


async def test_a_commit_that_never_arrived_runs_again(opened: Open, proxy: Proxy) -> None:
    """The server still believes in the former connection, whose transaction holds the row that is needed again."""
    store = await opened(proxy.url)
    await store.write(add("n"))
    runs: list[str] = []

    def verb(tx: Tx) -> int:
        answer = add("n", runs)(tx)
        proxy.deaf = len(runs) == 1
        return answer

    writing = store.write(verb)
    await asyncio.wait_for(proxy.swallowed.wait(), 10)
    proxy.hang_up()
    async with asyncio.timeout(8):  # less than it takes until a lock is given up
        assert await writing == 2
    assert runs == ["n", "n"]
    assert await value(store, "n") == Stored("n", 2, 2)


async def test_a_commit_nobody_can_tell_of_is_reported_as_such(
    opened: Open, proxy: Proxy, own_postgres: OwnPostgres
) -> None:
    store = await opened(proxy.url, patience=0.3)
    await store.write(add("n"))

    def verb(tx: Tx) -> int:
        answer = add("n")(tx)
        proxy.mute = True
        return answer

    writing = store.write(verb)
    await asyncio.wait_for(proxy.swallowed.wait(), 10)
    own_postgres.stop(signal.SIGQUIT)
    proxy.hang_up()
    try:
        with pytest.raises(StoreUnavailable, match="not known"):
            await writing
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.write(add("n"))
    finally:
        own_postgres.start()
    assert await store.write(add("n")) == 3  # it had been committed, as it happens


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_what_comes_during_a_restart_waits_for_it(
    opened: Open, own_postgres: OwnPostgres, how: signal.Signals
) -> None:
    store = await opened()
    for n in range(10):
        assert await store.write(add("n")) == n + 1
    own_postgres.stop(how)
    answers = [store.write(add("n")) for _ in range(20)]
    reading = asyncio.gather(*[value(store, "n") for _ in range(5)])
    own_postgres.start()
    assert await asyncio.gather(*answers) == list(range(11, 31))
    assert all(seen and seen.value >= 10 for seen in await reading)


async def test_patience_ends_and_the_store_comes_back(opened: Open, own_postgres: OwnPostgres) -> None:
    store = await opened(patience=0.2)
    await store.write(add("n"))
    own_postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.write(add("n"))
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await value(store, "n")
    finally:
        own_postgres.start()
    assert await store.write(add("n")) == 2
    assert await value(store, "n") == Stored("n", 2, 2)


async def test_closing_does_not_wait_for_a_server_that_is_gone(opened: Open, own_postgres: OwnPostgres) -> None:
    store = await opened()
    await store.write(add("n"))
    own_postgres.stop()
    try:
        writing = store.write(add("n"))
        async with asyncio.timeout(5):
            await store.close()
        with pytest.raises(StoreUnavailable):
            await writing
    finally:
        own_postgres.start()


async def test_a_server_that_says_nothing_is_taken_for_lost(
    opened: Open, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treadle.adapters.store.postgres.line.SILENCE_SECONDS", 0.3)
    store = await opened(proxy.url)
    await store.write(add("n"))
    proxy.deaf = True
    writing = store.write(add("n"))
    await asyncio.wait_for(proxy.swallowed.wait(), 10)
    proxy.deaf = False
    assert await writing == 2

"""What a cursor is made of: it goes on growing in a cluster that counts its transactions from the beginning again."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.adapters.replica import Replica
from treadle.adapters.store.postgres import open_postgres
from treadle.core.events import Event

pytestmark = pytest.mark.needs("postgres")
FAR = 1 << 50


def base(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT base FROM treadle").fetchone()
    assert row
    return int(row[0])


async def test_cursors_grow_on_after_a_restore_into_a_younger_cluster(fresh_url: str) -> None:
    store = await open_postgres(fresh_url)
    await store.close()
    with psycopg.connect(fresh_url) as connection:  # what a dump of a cluster that was further on brings along
        connection.execute(
            "INSERT INTO events (seq, kind, subject, project, at, data) VALUES (%s, 'task.changed', 'old', NULL, 1, '{}')",
            (FAR,),
        )
    stores = [await open_postgres(fresh_url) for _ in range(2)]
    assert FAR < base(fresh_url) < FAR + (1 << 22)
    for n, store in enumerate(stores):
        await store.write(lambda tx, n=n: tx.append_events([Event("task.changed", f"new{n}", 1)]))
    replica = Replica(stores[1])
    async with asyncio.timeout(10):
        while len(seen := await replica.fabric.events.after(0)) < 3:
            await asyncio.sleep(0.01)
    assert [event.subject for event in seen] == ["old", "new0", "new1"]
    assert seen[0].seq == FAR < seen[1].seq < seen[2].seq
    assert await replica.fabric.events.after(FAR) == seen[1:]
    for store in stores:
        await store.close()


async def test_the_base_stays_while_replicas_write_and_open(replicas: tuple[Replica, Replica], fresh_url: str) -> None:
    async def write() -> None:
        for _ in range(30):
            await replicas[0].store.write(lambda tx: tx.append_events([Event("task.changed", "x", 1)] * 50))

    async def come_and_go() -> None:
        for _ in range(5):
            store = await open_postgres(fresh_url)
            await store.read(lambda tx: tx.last_event())
            await store.close()

    await asyncio.gather(write(), write(), come_and_go(), come_and_go())
    assert base(fresh_url) == 0


async def test_replicas_count_in_pieces_of_their_own(replicas: tuple[Replica, Replica], fresh_url: str) -> None:
    looms = await replicas[0].project()
    for replica in replicas:
        await replica.submit(looms)
    with psycopg.connect(fresh_url) as connection:
        pieces = connection.execute("SELECT shard, count FROM tallies WHERE state = 'queued'").fetchall()
    assert len({shard for shard, _ in pieces}) == 2
    assert [count for _, count in pieces] == [1, 1]

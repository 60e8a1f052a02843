"""What a cursor is made of: it goes on growing in a cluster that counts its transactions from the beginning again."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.adapters.replica import Replica, follow
from treadle.adapters.store.postgres import PostgresStore, open_postgres
from treadle.core.events import Event

pytestmark = pytest.mark.needs("postgres")
FAR = 1 << 50


def base(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT base FROM treadle").fetchone()
    assert row
    return int(row[0])


@pytest.fixture
def restored(fresh_url: str) -> str:
    """The URL of a store that was dumped in a cluster which had counted much further than this one."""
    asyncio.run(open_and_close(fresh_url))
    with psycopg.connect(fresh_url) as connection:
        connection.execute("INSERT INTO events VALUES (%s, 'task.changed', 'old', NULL, 1, '{}')", (FAR,))
    return fresh_url


async def open_and_close(url: str) -> None:
    store: PostgresStore = await open_postgres(url)
    await store.close()


async def test_cursors_grow_on_after_a_restore_into_a_younger_cluster(
    restored: str, replicas: tuple[Replica, Replica]
) -> None:
    assert base(restored) > FAR // 2
    for n, replica in enumerate(replicas):
        await replica.store.write(lambda tx, n=n: tx.append_events([Event("task.changed", f"new{n}", 1)]))
    seen = await follow(replicas[1], 0, 3)
    assert [event.subject for event in seen] == ["old", "new0", "new1"]
    assert seen[0].seq == FAR < seen[1].seq < seen[2].seq
    assert await replicas[0].fabric.events.after(FAR) == seen[1:]
    assert await replicas[0].fabric.events.last() == seen[2].seq


async def test_the_base_stays_while_replicas_write_and_open(replicas: tuple[Replica, Replica], fresh_url: str) -> None:
    async def write() -> None:
        for _ in range(30):
            await replicas[0].store.write(lambda tx: tx.append_events([Event("task.changed", "x", 1)] * 50))

    async def come_and_go() -> None:
        for _ in range(5):
            await open_and_close(fresh_url)

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

"""The durable peers: pgqueuer and Procrastinate, on PostgreSQL with fsync and synchronous commit."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import procrastinate
import psycopg
from pgqueuer import PgQueuer, Queries
from pgqueuer.adapters.cli.supervisor import setup_signal_handlers
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from procrastinate.schema import SchemaManager
from procrastinate.types import JSONDict

from bench import load
from bench.peers import services
from bench.peers.library import Tally

STORE = (
    "fsync and synchronous_commit on, Unix socket, VACUUM ANALYZE before the drain: without it the planner misjudges"
)


class Pgqueuer:
    """pgqueuer: claims and ends in batches, over asyncpg."""

    durable = True
    packages: tuple[str, ...] = ("pgqueuer", "asyncpg", "uvloop")

    def __init__(self, name: str, batch: int, why: str) -> None:
        self.name, self._batch = name, batch
        self.notes = f"batch_size={batch}: {why}; one connection, as its guide says; `pgq autovac` settings; {STORE}"

    def service(self, folder: Path) -> AbstractContextManager[services.Service]:
        return services.postgres(folder)

    async def prepare(self, address: str) -> None:
        connection = await asyncpg.connect(address)
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        await queries.optimize_autovacuum()
        await connection.close()

    async def enqueue(self, address: str, numbers: range) -> float:
        connection = await asyncpg.connect(address)
        queries = Queries(AsyncpgDriver(connection))
        began = time.perf_counter()
        for number in numbers:
            await queries.enqueue("noop", b"%d" % number)
        seconds = time.perf_counter() - began
        await connection.close()
        return seconds

    async def enqueue_bulk(self, address: str, numbers: range) -> float:
        connection = await asyncpg.connect(address)
        queries = Queries(AsyncpgDriver(connection))
        count = len(numbers)
        began = time.perf_counter()
        await queries.enqueue(["noop"] * count, [b"%d" % number for number in numbers], [0] * count)
        seconds = time.perf_counter() - began
        await connection.close()
        return seconds

    async def tidy(self, address: str) -> None:
        await _vacuum(address)

    async def unfinished(self, address: str) -> int:
        connection = await asyncpg.connect(address)
        left = sum(row.count for row in await Queries(AsyncpgDriver(connection)).queue_size())
        await connection.close()
        return left

    def work(self, address: str, tally: Tally) -> None:
        load.drive(self._work, address, tally)

    async def _work(self, address: str, tally: Tally) -> None:
        connection = await asyncpg.connect(address)
        worker = PgQueuer(AsyncpgDriver(connection))

        @worker.entrypoint("noop")
        async def noop(job: Job) -> None:
            assert job.payload is not None
            tally.ran(int(job.payload))

        setup_signal_handlers(worker.shutdown)
        await worker.run(batch_size=self._batch, dequeue_timeout=timedelta(seconds=5))
        await connection.close()


class Procrastinate:
    """Procrastinate: one statement claims a job, one ends it, over psycopg."""

    name = "procrastinate"
    durable = True
    packages: tuple[str, ...] = ("procrastinate", "psycopg")
    concurrency = 10
    notes = f"concurrency={concurrency}: 30 and 100 are no faster; the connection pool has two more; {STORE}"

    def service(self, folder: Path) -> AbstractContextManager[services.Service]:
        return services.postgres(folder)

    def _app(self, address: str) -> procrastinate.App:
        connector = procrastinate.PsycopgConnector(conninfo=address, max_size=self.concurrency + 2)
        return procrastinate.App(connector=connector)

    async def prepare(self, address: str) -> None:
        connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
        await connection.execute(SchemaManager.get_schema())
        await connection.close()

    async def enqueue(self, address: str, numbers: range) -> float:
        async with self._app(address).open_async() as app:
            noop = app.configure_task("noop")
            began = time.perf_counter()
            for number in numbers:
                await noop.defer_async(number=number)
            return time.perf_counter() - began

    async def enqueue_bulk(self, address: str, numbers: range) -> float:
        async with self._app(address).open_async() as app:
            noop = app.configure_task("noop")
            calls: list[JSONDict] = [{"number": number} for number in numbers]
            began = time.perf_counter()
            await noop.batch_defer_async(*calls)
            return time.perf_counter() - began

    async def tidy(self, address: str) -> None:
        await _vacuum(address)

    async def unfinished(self, address: str) -> int:
        connection = await psycopg.AsyncConnection.connect(address)
        cursor = await connection.execute("select count(*) from procrastinate_jobs where status in ('todo', 'doing')")
        ((left,),) = await cursor.fetchall()
        await connection.close()
        return int(left)

    def work(self, address: str, tally: Tally) -> None:
        load.drive(self._work, address, tally)

    async def _work(self, address: str, tally: Tally) -> None:
        app = self._app(address)

        @app.task(name="noop")
        async def noop(number: int) -> None:
            tally.ran(number)

        async with app.open_async():
            await app.run_worker_async(concurrency=self.concurrency)


async def _vacuum(address: str) -> None:
    connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
    await connection.execute("vacuum analyze")
    await connection.close()

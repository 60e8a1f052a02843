"""The peers on Redis: Celery and taskiq. Its log is synced once a second, so they are not durable task by task."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

import celery  # type: ignore[import-untyped]
import redis
from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import start_listen
from taskiq_redis import RedisStreamBroker

from bench.peers import services
from bench.peers.library import Tally

STORE = (
    "appendonly with appendfsync=everysec (a crash of the machine may lose a second: not durable per task), Unix socket"
)


class Celery:
    """Celery with its Redis transport: a job is acknowledged when it is received."""

    name = "celery"
    durable = False
    packages: tuple[str, ...] = ("celery", "kombu", "redis", "hiredis")
    notes = (
        "pool=solo: faster than prefork with one process; prefetch_multiplier=64: 4 is slower, 1000 no faster; results "
        f"ignored, events, gossip, mingle and heartbeat off: nobody listens; no bulk form; {STORE}"
    )

    def service(self, folder: Path) -> AbstractContextManager[services.Service]:
        return services.valkey(folder)

    def _app(self, address: str) -> celery.Celery:
        app = celery.Celery("bench", broker=f"redis+socket://{address}")
        app.conf.update(
            task_ignore_result=True,
            worker_prefetch_multiplier=64,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )
        return app

    async def prepare(self, address: str) -> None:
        """Nothing: the list appears with its first job."""

    async def enqueue(self, address: str, numbers: range) -> float:
        with self._app(address) as app, app.producer_pool.acquire(block=True) as producer:
            noop = app.signature("noop")
            began = time.perf_counter()
            for number in numbers:
                noop.apply_async((number,), producer=producer)
            return time.perf_counter() - began

    async def enqueue_bulk(self, address: str, numbers: range) -> None:
        return None

    async def tidy(self, address: str) -> None:
        """Nothing: Redis keeps no statistics."""

    async def unfinished(self, address: str) -> int:
        with redis.Redis(unix_socket_path=address) as client:
            return int(client.llen("celery")) + int(client.hlen("unacked"))

    def work(self, address: str, tally: Tally) -> None:
        app = self._app(address)
        app.task(tally.ran, name="noop")
        quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        app.worker_main(["worker", "--pool=solo", *quiet])


class Taskiq:
    """taskiq with its Redis stream broker: a job is acknowledged after it ran."""

    name = "taskiq"
    durable = False
    packages: tuple[str, ...] = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    notes = f"max_async_tasks=100, xread_count=100: its defaults, 1000 is no faster; no bulk form; {STORE}"

    def service(self, folder: Path) -> AbstractContextManager[services.Service]:
        return services.valkey(folder)

    def _broker(self, address: str) -> RedisStreamBroker:
        return RedisStreamBroker(f"unix://{address}", xread_count=100)

    async def prepare(self, address: str) -> None:
        broker = self._broker(address)
        await broker.startup()
        await broker.shutdown()

    async def enqueue(self, address: str, numbers: range) -> float:
        broker = self._broker(address)

        @broker.task(task_name="noop")
        async def noop(number: int) -> None:
            raise AssertionError("jobs run in the worker")

        await broker.startup()
        began = time.perf_counter()
        for number in numbers:
            await noop.kiq(number)
        seconds = time.perf_counter() - began
        await broker.shutdown()
        return seconds

    async def enqueue_bulk(self, address: str, numbers: range) -> None:
        return None

    async def tidy(self, address: str) -> None:
        """Nothing: Redis keeps no statistics."""

    async def unfinished(self, address: str) -> int:
        with redis.Redis(unix_socket_path=address) as client:
            (group,) = client.xinfo_groups("taskiq")
            return int(group["lag"]) + int(group["pending"])

    def work(self, address: str, tally: Tally) -> None:
        broker = self._broker(address)

        @broker.task(task_name="noop")
        async def noop(number: int) -> None:
            tally.ran(number)

        # What `taskiq worker` starts in its one child process. It takes a broker as well as the name of one.
        arguments = WorkerArgs(broker=broker, modules=[], configure_logging=False, max_async_tasks=100)  # type: ignore[arg-type]
        start_listen(arguments)

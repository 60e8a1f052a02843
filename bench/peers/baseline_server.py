"""The practical limit: the smallest durable queue over HTTP that one would write by hand, Starlette on SQLite.

Create, claim and complete, nothing else: no accounts, no events, no history. A claim raises the job's fence and a
completion is refused under an older one; everything that waits is written in one transaction and synced once (WAL,
`synchronous=FULL`) before its callers hear yes. `python -m bench.peers.baseline_server FILE` prints its port, then
serves, on core 0.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any

import apsw
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench import load

SCHEMA = """
create table jobs (
  id integer primary key, type text not null, payload text not null, priority integer not null,
  state text not null default 'queued', fence integer not null default 0,
  worker text, lease_until integer, result text, created integer not null, finished integer
) strict;
create index claimable on jobs (type, priority desc, id) where state = 'queued';
"""
CREATE = "insert into jobs (type, payload, priority, created) values (?, ?, ?, ?) returning id"
CLAIM = """
update jobs set state = 'running', fence = fence + 1, worker = ?, lease_until = ?
where id = (select id from jobs where type = ? and state = 'queued' order by priority desc, id limit 1)
returning id, fence, payload
"""
COMPLETE = """
update jobs set state = 'done', result = ?, finished = ? where id = ? and fence = ? and state = 'running' returning id
"""
LEASE = 600_000_000  # microseconds

Row = tuple[Any, ...] | None
Wish = tuple[str, tuple[Any, ...], "asyncio.Future[Row]"]


class Create(msgspec.Struct):
    type: str
    payload: str
    priority: int = 0


class Claim(msgspec.Struct):
    worker: str
    type: str


class Complete(msgspec.Struct):
    id: int
    fence: int
    result: str


class Writer:
    """The one connection that writes, on its own thread: whatever waits becomes one transaction."""

    def __init__(self, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._wishes: SimpleQueue[Wish | None] = SimpleQueue()
        self._database = apsw.Connection(path)
        for pragma in ("journal_mode = wal", "synchronous = full", "cache_size = -65536"):
            self._database.execute(f"pragma {pragma}")
        self._database.execute(SCHEMA)
        self._thread = Thread(target=self._run)
        self._thread.start()

    async def write(self, statement: str, *values: Any) -> Row:
        future: asyncio.Future[Row] = self._loop.create_future()
        self._wishes.put((statement, values, future))
        return await future

    def close(self) -> None:
        self._wishes.put(None)
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            batch = [self._wishes.get()]
            while not self._wishes.empty() and len(batch) < 512:
                batch.append(self._wishes.get())
            closing = None in batch
            wishes = [wish for wish in batch if wish is not None]
            try:
                self._loop.call_soon_threadsafe(_settle, wishes, self._commit(wishes))
            except apsw.Error as exc:
                self._loop.call_soon_threadsafe(_fail, wishes, exc)

    def _commit(self, wishes: list[Wish]) -> list[Row]:
        rows: list[Row] = []
        with self._database:  # begin, then commit, or roll back and raise
            rows += [self._database.execute(statement, values).get for statement, values, _ in wishes]
        return rows


def _settle(wishes: list[Wish], rows: list[Row]) -> None:
    for (_, _, future), row in zip(wishes, rows, strict=True):
        if not future.done():
            future.set_result(row)


def _fail(wishes: list[Wish], error: Exception) -> None:
    for _, _, future in wishes:
        if not future.done():
            future.set_exception(error)


async def create(request: Request) -> Response:
    wish = _read_create(await request.body())
    row = await request.app.state.writer.write(CREATE, wish.type, wish.payload, wish.priority, _now())
    return _json({"id": row}, 201)


async def claim(request: Request) -> Response:
    wish = _read_claim(await request.body())
    row = await request.app.state.writer.write(CLAIM, wish.worker, _now() + LEASE, wish.type)
    if row is None:
        return Response(status_code=204)
    id_, fence, payload = row
    return _json({"id": id_, "fence": fence, "payload": payload})


async def complete(request: Request) -> Response:
    wish = _read_complete(await request.body())
    row = await request.app.state.writer.write(COMPLETE, wish.result, _now(), wish.id, wish.fence)
    if row is None:
        return _json({"error": "the job is held under a later fence"}, 409)
    return _json({"id": wish.id})


_read_create = msgspec.json.Decoder(Create).decode
_read_claim = msgspec.json.Decoder(Claim).decode
_read_complete = msgspec.json.Decoder(Complete).decode
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")


def _now() -> int:
    return time.time_ns() // 1000


def app(path: str) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.writer = Writer(path)
        yield
        app.state.writer.close()

    return Starlette(
        routes=[
            Route("/jobs", create, methods=["POST"]),
            Route("/claim", claim, methods=["POST"]),
            Route("/complete", complete, methods=["POST"]),
        ],
        lifespan=lifespan,
    )


def main() -> None:
    load.pin(0)
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()

"""Group commit on PostgreSQL: writing lanes put many verbs into one commit, reading lanes share snapshots."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from treadle.adapters.store.waiting import Outcome, Waiting, answer_and_tell
from treadle.core.errors import StoreUnavailable
from treadle.core.events import Event
from treadle.core.ports import Tx

from .address import Address
from .lanes import ReadLane, WriteLane
from .reach import PATIENCE_SECONDS, Reach
from .schema import upgrade

R = TypeVar("R")

WRITE_LANES = 1
READ_LANES = 2


class PostgresStore:
    """A store that many replicas share. Readers see every write that was answered.

    When the connection breaks, verbs that were not committed run again on a new one. Where the commit itself was under
    way, the server is asked what became of it; only if it cannot say, the callers get a StoreUnavailable that says so.
    """

    provider = "postgresql"

    def __init__(
        self, address: Address, loop: asyncio.AbstractEventLoop, write_lanes: int, read_lanes: int, patience: float
    ) -> None:
        self.on_commit: Callable[[Sequence[Event]], None] | None = None
        self._loop = loop
        self._closed = False
        self._closing = threading.Event()
        self._writes: SimpleQueue[Waiting | None] = SimpleQueue()
        self._reads: SimpleQueue[Waiting | None] = SimpleQueue()
        lanes: list[WriteLane | ReadLane] = []
        for _ in range(write_lanes):
            reach = Reach(address, self._closing, writing=True, patience=patience)
            lanes.append(WriteLane(reach, self._writes, self._answer))
        for _ in range(read_lanes):
            reach = Reach(address, self._closing, writing=False, patience=patience)
            lanes.append(ReadLane(reach, self._reads, self._answer))
        self._threads = [
            threading.Thread(target=lane.run, name=f"treadle-{'write' if place < write_lanes else 'read'}", daemon=True)
            for place, lane in enumerate(lanes)
        ]
        self._ends = [self._writes] * write_lanes + [self._reads] * read_lanes
        for thread in self._threads:
            thread.start()

    def write(self, verb: Callable[[Tx], R]) -> "asyncio.Future[R]":
        return self._put(self._writes, verb)

    def read(self, query: Callable[[Tx], R]) -> "asyncio.Future[R]":
        return self._put(self._reads, query)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._closing.set()
            for queue in self._ends:
                queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _put(self, queue: "SimpleQueue[Waiting | None]", verb: Callable[[Tx], R]) -> "asyncio.Future[R]":
        answer: asyncio.Future[R] = self._loop.create_future()
        if self._closed:
            answer.set_exception(StoreUnavailable("The store is closed"))
        else:
            queue.put((verb, answer))
        return answer

    def _answer(self, outcomes: Iterable[Outcome], facts: Sequence[Event]) -> None:
        self._loop.call_soon_threadsafe(lambda: answer_and_tell(outcomes, facts, self.on_commit))


async def open_postgres(
    url: str,
    *,
    write_lanes: int = WRITE_LANES,
    read_lanes: int = READ_LANES,
    patience: float = PATIENCE_SECONDS,
) -> PostgresStore:
    """Open the store at this URL, bringing its schema up to date first.

    `postgresql://user:password@host:5432/name`, or with `?host=/folder` for a Unix socket; the schema is that of
    `?options=-csearch_path%3Dname`, else `public`. Lanes keep session state (prepared statements, advisory locks), so
    the URL must not lead to a pooler that changes sessions between transactions. `patience` is in seconds.
    Raises StoreUnavailable, StoreTooNew.
    """
    address = Address(url)
    await asyncio.to_thread(_prepare, address)
    return PostgresStore(address, asyncio.get_running_loop(), write_lanes, read_lanes, patience)


def _prepare(address: Address) -> None:
    with address.connect() as connection:
        upgrade(connection, address)

"""What a task prints: one append-only stream of bytes for each task, addressed by the offset from its first byte on.

The past that is stored and the tail that still grows are one stream with one cursor. What retention has removed, or a
worker has lost, is a jump in the offsets: a reader sees it and nobody hides it.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Literal, Protocol

from msgspec import Struct

from . import topics
from .at_hand import AtHand
from .clock import Clock
from .errors import LeaseLost, NotFound, StoreUnavailable
from .events import Event
from .ports import Bus, Store, Tx
from .tasks import FINAL, Task

Stream = Literal["stdout", "stderr"]
"""What a terminal shows is all `stdout`."""
Part = tuple[Stream, bytes]

PIECE = 256 * 1024
"""Bytes read, or sent by a node, at once; bounds what a follower holds in memory."""
POLL_SECONDS = 1.0


class Chunk(Struct, frozen=True):
    """Some bytes of one stream; `at` is the offset of the first in all that the task printed."""

    at: int
    stream: Stream
    data: bytes

    @property
    def end(self) -> int:
        return self.at + len(self.data)


class Extent(Struct, frozen=True):
    """The oldest byte that is kept, and the end of what was printed."""

    first: int = 0
    end: int = 0


class Outputs(Protocol):
    """Where output is kept. Every method may raise StoreUnavailable and its kinds."""

    async def append(self, task: str, fence: int, at: int, parts: Sequence[Part]) -> int:
        """Add what an assignment printed from its own offset `at` on; the offset that is expected of it next.

        What is there already is skipped, so a sender may repeat itself. An `at` beyond what is there says that the
        sender lost bytes: the offsets jump. A later fence begins at 0 behind what the earlier ones printed.
        """
        ...

    async def expected(self, task: str, fence: int) -> int:
        """The offset, among its own bytes, from which an assignment goes on."""
        ...

    async def read(self, task: str, after: int, most: int = PIECE) -> list[Chunk]:
        """What follows the offset, up to `most` bytes; nothing at the end."""
        ...

    async def extent(self, task: str) -> Extent: ...

    async def flush(self, task: str) -> None:
        """Return when all of it is on disk."""
        ...

    async def drop(self, task: str) -> None: ...

    async def prune(self, now: int) -> int:
        """Remove what retention does not keep, oldest first; how many bytes went."""
        ...

    async def close(self) -> None: ...


class Output:
    """Write, read and follow what tasks print."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, outputs: Outputs) -> None:
        self._bus, self._outputs = bus, outputs
        self._dropping: set[asyncio.Task[None]] = set()
        self._tasks = AtHand[Task](store, clock, tasks_of_projects)

    def learn(self, event: Event) -> None:
        """Something happened to a task: what was known of it no longer holds; what a deleted one printed goes."""
        self._tasks.drop(event.subject)
        if event.kind == "task.deleted":
            dropping = asyncio.get_running_loop().create_task(self._drop(event.subject))
            self._dropping.add(dropping)
            dropping.add_done_callback(self._dropping.discard)

    async def _drop(self, task: str) -> None:
        with suppress(StoreUnavailable):  # then retention removes it
            await self._outputs.drop(task)

    async def write(self, task: str, fence: int, at: int, parts: Sequence[Part]) -> int:
        """Add what the holder of the lease printed (see `Outputs.append`). Raises LeaseLost for any other fence."""
        found = await self._task(task)
        if found.state != "running" or found.fence != fence:
            raise LeaseLost(f"Task {task} has another holder now, or none")
        expected = await self._outputs.append(task, fence, at, parts)
        self._bus.publish(topics.output(task))
        return expected

    async def extent(self, task: str) -> Extent:
        """Raises NotFound."""
        await self._task(task)
        return await self._outputs.extent(task)

    async def read(self, task: str, after: int, most: int = PIECE) -> list[Chunk]:
        """What follows the offset. Raises NotFound."""
        await self._task(task)
        return await self._outputs.read(task, after, most)

    async def follow(self, task: str, after: int) -> AsyncGenerator[Chunk, None]:
        """Everything from the offset on, until the task has ended; a negative offset counts from the end."""
        with self._bus.listen(topics.output(task)) as grown:
            if after < 0:
                extent = await self.extent(task)
                after = max(extent.first, extent.end + after)
            while True:
                ended = (await self._task(task)).state in FINAL
                while chunks := await self._outputs.read(task, after):
                    for chunk in chunks:
                        yield chunk
                        after = chunk.end
                if ended:
                    return
                await grown.heard(POLL_SECONDS)

    async def _task(self, id: str) -> Task:
        found = await self._tasks.get_many([id])
        if id not in found:
            raise NotFound("Task", id)
        return found[id]


def tasks_of_projects(tx: Tx, ids: Sequence[str]) -> dict[str, Task]:
    """The tasks that exist, by id; not those whose project is gone and whose rows still wait to be removed."""
    found = tx.tasks(ids)
    projects = tx.projects(list({task.project for task in found.values()}))
    return {id: task for id, task in found.items() if task.project in projects}

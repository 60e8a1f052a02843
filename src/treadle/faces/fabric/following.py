"""Following what a task prints: whoever follows the same task shares one look at it.

With two hundred readers of one line, the bus is heard once, the log is read once, the event is spelled once. A reader
that is behind, or stuck, reads for itself and holds up nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from treadle.core import topics
from treadle.core.fabric import Fabric
from treadle.core.output import PIECE, POLL_SECONDS, Chunk
from treadle.core.tasks import FINAL


class Printed:
    """What was printed from an offset on; its spelling is made when the first asks for it."""

    __slots__ = ("_spelled", "after", "chunks")

    def __init__(self, after: int, chunks: list[Chunk]) -> None:
        self.after, self.chunks = after, chunks
        self._spelled: bytes | None = None

    @property
    def end(self) -> int:
        return self.chunks[-1].end if self.chunks else self.after

    def spelled(self, spell: Callable[["Printed"], bytes]) -> bytes:
        if self._spelled is None:
            self._spelled = spell(self)
        return self._spelled


class Followed:
    """One task, while somebody follows it."""

    def __init__(self, fabric: Fabric, id: str) -> None:
        self._tasks, self._output, self._bus = fabric.tasks, fabric.output, fabric.bus
        self._id = id
        self._newest = Printed(-1, [])
        self._tip = -1
        """How far the look has come."""
        self._over = False
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self.users = 0
        self.looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """See what is printed until the task has ended, and tell those who wait."""
        try:
            await self._look()
            self._over = True
        except Exception as error:  # noqa: BLE001 - it is raised by everybody who follows
            self._failure = error
        self._tell()

    async def _look(self) -> None:
        with self._bus.listen(topics.output(self._id)) as grown, self._bus.listen(topics.task(self._id)) as end:
            ended = await self._has_ended()
            self._tip = (await self._output.extent(self._id)).end
            self._tell()
            while True:
                chunks = await self._output.read(self._id, self._tip, PIECE)
                if chunks:
                    self._newest = Printed(self._tip, chunks)
                    self._tip = self._newest.end
                    self._tell()
                elif ended:
                    return
                elif await end.heard(0):
                    ended = await self._has_ended()  # and what came before that is still to be read
                elif not await grown.heard(POLL_SECONDS):
                    ended = await self._has_ended()
                    self._tell()

    async def _has_ended(self) -> bool:
        return (await self._tasks.get(self._id)).state in FINAL

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def pieces(self, after: int) -> AsyncIterator[Printed]:
        """What follows the offset, as it comes; now and then nothing. Ends when the task has and all is read.

        Raises NotFound when the task is deleted, and StoreUnavailable.
        """
        while True:
            if self._newest.after == after:
                printed = self._newest
            elif after < self._tip:
                chunks = await self._output.read(self._id, after, PIECE)
                printed = Printed(after, chunks or [Chunk(self._tip, "stdout", b"")])  # dropped: a gap up to the tip
            elif self._over:
                return
            elif self._failure is not None:
                raise self._failure
            else:
                await self._news.wait()
                printed = Printed(after, [])
                if after < self._tip:
                    continue
            yield printed
            after = printed.end


class Following:
    """Who follows what."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._followed: dict[str, Followed] = {}
        self._looking: set[asyncio.Task[None]] = set()

    @contextmanager
    def task(self, task: str) -> Iterator[Followed]:
        """The task, followed by one more until the block ends."""
        followed = self._followed.get(task)
        if followed is None:
            followed = self._followed[task] = Followed(self._fabric, task)
            looking = followed.looking = asyncio.create_task(followed.look(), name=f"output {task}")
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)
            looking.add_done_callback(lambda _: self._forget(task, followed))
        followed.users += 1
        try:
            yield followed
        finally:
            followed.users -= 1
            if not followed.users:
                self._forget(task, followed)
                if followed.looking is not None:
                    followed.looking.cancel()

    def _forget(self, task: str, followed: Followed) -> None:
        """Who comes now looks anew."""
        if self._followed.get(task) is followed:
            del self._followed[task]

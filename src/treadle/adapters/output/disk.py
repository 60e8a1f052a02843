"""Output kept in a folder of this machine: a log for each task, one writer for each log, any number of readers.

Small appends are made on the loop (two short writes into the page cache, some 30 microseconds); whatever may take
longer goes to a few threads. No file stays open between calls, so the number of tasks that print costs no descriptors.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from treadle.adapters.output.log import Log, addition, folder_of
from treadle.adapters.output.retention import ASIDE, MIB, Retention, overdue, walk
from treadle.adapters.output.segment import refused
from treadle.adapters.output.tail import Tail
from treadle.core.clock import Clock
from treadle.core.ids import new_id
from treadle.core.output import PIECE, Chunk, Extent, Part

T = TypeVar("T")

SEGMENT = 8 * MIB
SMALL = 16 * 1024
"""Bytes that are written on the loop."""
THREADS = 4
KNOWN = 4096
"""Logs whose shape is remembered."""
TAILS = 64
"""Tasks whose tail is in memory."""


class _Open:
    """A log in use: who changes it holds the lock; while there are users it is not forgotten."""

    __slots__ = ("loaded", "lock", "log", "tail", "users")

    def __init__(self, log: Log) -> None:
        self.log, self.tail = log, Tail()
        self.lock = asyncio.Lock()
        self.users = 0
        self.loaded = False


class DiskOutputs:
    """The port `Outputs` on a folder that is ours alone. Call it on one loop."""

    def __init__(
        self, folder: Path, *, clock: Clock, keep: Retention | None = None, segment_bytes: int = SEGMENT
    ) -> None:
        self._folder, self._clock = folder, clock
        self._keep = keep or Retention()
        self._segment = min(segment_bytes, max(self._keep.per_task // 4, 1))
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._tails: OrderedDict[str, _Open] = OrderedDict()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="output")
        self._written = 0
        self._room = -1
        """Bytes that may be written before there can be too many in all; below 0: nobody has looked yet."""
        self._ages = 0
        """When the oldest segment becomes too old."""

    async def append(self, task: str, fence: int, at: int, parts: Sequence[Part]) -> int:
        """See the port. Raises LeaseLost for an assignment before the one that printed last."""
        with self._using(task) as open:
            async with open.lock:
                await self._load(open)
                log = open.log
                last = log.shape.last
                new = addition(last, fence, at, parts)
                if new.pieces or new.at > (last.end if last else 0):
                    size = new.size
                    if size <= SMALL and log.grows(new):
                        try:
                            log.add(new, self._clock())
                        except OSError as error:
                            raise refused(error) from error
                    else:
                        await self._run(partial(log.add, new, self._clock()))
                    self._written += size
                    open.tail.add(new.at, new.pieces)
                return new.expected

    async def expected(self, task: str, fence: int) -> int:
        """See the port. Raises LeaseLost for an assignment before the one that printed last."""
        with self._using(task) as open:
            async with open.lock:
                await self._load(open)
                return addition(open.log.shape.last, fence, 0, ()).expected

    async def read(self, task: str, after: int, most: int = PIECE) -> list[Chunk]:
        """See the port. An empty chunk further on is a gap behind which nothing is kept."""
        with self._using(task) as open:
            found = open.tail.since(after, most)
            if found is not None:
                return found
            if not open.loaded:
                async with open.lock:
                    await self._load(open)
            shape = open.log.shape
            if after == shape.extent.end:
                self._watch(task, open, after)
                return []
            try:
                return await self._run(partial(open.log.read, shape, after, most), refuse=False)
            except FileNotFoundError:  # retention was quicker: look again at what is left
                async with open.lock:
                    await self._run(open.log.load)
                    return await self._run(partial(open.log.read, open.log.shape, after, most))
            except OSError as error:
                raise refused(error) from error

    async def extent(self, task: str) -> Extent:
        with self._using(task) as open:
            if not open.loaded:
                async with open.lock:
                    await self._load(open)
            return open.log.shape.extent

    async def flush(self, task: str) -> None:
        with self._using(task) as open:
            async with open.lock:
                await self._load(open)
                if open.log.dirty:
                    await self._run(open.log.sync)

    async def drop(self, task: str) -> None:
        with self._using(task) as open:
            async with open.lock:
                await self._run(partial(open.log.drop, self._folder / f"{ASIDE}{new_id()}"))
                open.tail.stop()
                open.loaded = True

    async def prune(self, now: int) -> int:
        """See the port. Looks at the files only when there can be too many, or one can be too old."""
        if self._room >= 0 and self._written <= self._room and now < self._ages:
            return 0
        written = self._written
        kept = await self._run(partial(walk, self._folder))
        gone = overdue(kept, self._keep, now)
        went = 0
        upto: dict[str, int] = {}
        for each in gone:
            if each.empty:
                await self.drop(each.task)
            else:
                upto[each.task] = each.first
        for task, first in upto.items():
            with self._using(task) as open:
                async with open.lock:
                    await self._load(open)
                    went += await self._run(partial(open.log.forget, first, now))
        left = sorted(set(kept).difference(gone))
        self._written -= written
        self._room = max(self._keep.total - sum(each.bytes for each in left), 0)
        self._ages = (left[0].newest if left else now) + self._keep.age
        return went

    async def close(self) -> None:
        """Put what is not on disk there, and let the threads end; safe to call twice."""
        for task in [task for task, open in self._open.items() if open.log.dirty]:
            await self.flush(task)
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    @contextmanager
    def _using(self, task: str) -> Iterator[_Open]:
        open = self._open.get(task)
        if open is None:
            folder = folder_of(self._folder, task)
            self._make_room()
            open = _Open(Log(folder, segment_bytes=self._segment, most_bytes=self._keep.per_task))
            self._open[task] = open
        else:
            self._open.move_to_end(task)
        open.users += 1
        try:
            yield open
        finally:
            open.users -= 1

    def _make_room(self) -> None:
        if len(self._open) < KNOWN:
            return
        for task, open in self._open.items():
            if not open.users:
                del self._open[task]
                self._tails.pop(task, None)
                return

    def _watch(self, task: str, open: _Open, at: int) -> None:
        """Somebody has read everything and will want what comes next."""
        open.tail.begin(at)
        self._tails[task] = open
        self._tails.move_to_end(task)
        if len(self._tails) > TAILS:
            _, other = self._tails.popitem(last=False)
            other.tail.stop()

    async def _load(self, open: _Open) -> None:
        if not open.loaded:
            await self._run(open.log.load)
            open.loaded = True

    async def _run(self, work: Callable[[], T], *, refuse: bool = True) -> T:
        """Do file work in a thread. It is waited for even if the caller is cancelled: the caller's lock guards it."""
        doing = asyncio.get_running_loop().run_in_executor(self._threads, work)
        cancelled: asyncio.CancelledError | None = None
        while not doing.done():
            try:
                await asyncio.wait((doing,))
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            done = doing.result()
        except OSError as error:
            if not refuse:
                raise
            raise refused(error) from error
        if cancelled is not None:
            raise cancelled
        return done

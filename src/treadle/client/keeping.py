"""The tasks a worker holds: their leases are extended at half-life, and lost ones are noticed."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from time import monotonic

from treadle.client.client import Client
from treadle.client.errors import ClientError, NotFound, Refused
from treadle.client.nouns import ENDED, Task

log = logging.getLogger("treadle.worker")

TICK = 0.5
"""Seconds between two looks; less where leases are short."""
WATCHED_AFTER = 1.0
"""Seconds after which it is worth a connection to hear at once that a task was called off."""
MOST_WATCHED = 32
WATCH_SECONDS = 60.0


class Hold:
    """One held task: `seconds` its lease is long, `due` to be extended, `began` to be worked on, by monotonic time."""

    __slots__ = ("_lost", "began", "due", "handed_in", "seconds", "task")

    def __init__(self, task: Task, now: float) -> None:
        self.task = task
        self.seconds = max(task.lease_seconds, 0.1)
        self.due = now + self.seconds / 2
        self.began: float | None = None
        self.handed_in = False
        """Its result is on its way; the answer to that says what became of it, and nothing else does."""
        self._lost = False

    def is_lost(self) -> bool:
        """Whether it is ours no more: what becomes of it is of no interest."""
        return self._lost

    def lose(self) -> None:
        self._lost = True


class Keeper:
    """Keeps every hold alive until it is let go; `on_lost` is told of those that cannot be kept."""

    def __init__(self, client: Client, on_lost: Callable[[Hold], None]) -> None:
        self._client, self._on_lost = client, on_lost
        self._holds: dict[str, Hold] = {}
        self._watching: dict[Hold, asyncio.Task[None]] = {}
        self._tick = TICK

    def __len__(self) -> int:
        return len(self._holds)

    def hold(self, tasks: Iterable[Task]) -> list[Hold]:
        """Tasks that were just claimed."""
        now = monotonic()
        holds = [Hold(task, now) for task in tasks]
        for hold in holds:
            self._holds[hold.task.id] = hold
            if hold.seconds < 4 * self._tick:
                self._tick = hold.seconds / 4
        return holds

    def let_go(self, holds: Iterable[Hold]) -> None:
        """Tasks that are no longer ours."""
        for hold in holds:
            if self._holds.get(hold.task.id) is hold:
                del self._holds[hold.task.id]
            watcher = self._watching.pop(hold, None) if self._watching else None
            if watcher is not None:
                watcher.cancel()

    async def run(self) -> None:
        """Look after the holds until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._tick)
                now = monotonic()
                due = [hold for hold in self._holds.values() if hold.due <= now]
                if due:
                    await self._extend(due)
                self._watch(now)
        finally:
            for watcher in self._watching.values():
                watcher.cancel()
            await asyncio.gather(*self._watching.values(), return_exceptions=True)

    async def _extend(self, due: list[Hold]) -> None:
        lengths: dict[float, list[Hold]] = {}
        for hold in due:
            lengths.setdefault(hold.seconds, []).append(hold)
        for seconds, holds in lengths.items():
            now = monotonic()
            try:
                outcomes = await self._client.extend([hold.task for hold in holds], seconds)
            except ClientError as error:
                log.warning("%d leases not extended: %s", len(holds), error)
                for hold in holds:
                    hold.due = now + min(1.0, seconds / 8)
                continue
            for hold, outcome in zip(holds, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    self._lose(hold, outcome.message)
                else:
                    hold.due = now + seconds / 2

    def _watch(self, now: float) -> None:
        """Long tasks are watched: a person may call them off."""
        for hold in self._holds.values():
            if len(self._watching) >= MOST_WATCHED:
                return
            if hold.began is not None and now - hold.began > WATCHED_AFTER and hold not in self._watching:
                self._watching[hold] = asyncio.create_task(self._see(hold))

    async def _see(self, hold: Hold) -> None:
        """Wait until the task has ended without us."""
        while True:
            try:
                task = await self._client.task(hold.task.id, wait=WATCH_SECONDS)
            except NotFound:
                self._lose(hold, "the task was deleted")
                return
            except ClientError:
                await asyncio.sleep(TICK)  # the leases' own extension says that the server is away
                continue
            if task.state in ENDED:
                self._lose(hold, f"the task is {task.state}")
                return
            if task.fence != hold.task.fence:
                self._lose(hold, "the lease has passed to somebody else")
                return

    def _lose(self, hold: Hold, why: str) -> None:
        if hold.is_lost() or hold.handed_in or self._holds.get(hold.task.id) is not hold:
            return
        hold.lose()
        log.warning("task %s is lost: %s", hold.task.id, why)
        del self._holds[hold.task.id]
        self._on_lost(hold)

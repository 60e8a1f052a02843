"""Duties are what has to be done from time to time whoever does it: sweep, prune, write down.

There is no leader. Each duty's next turn is a small document; whoever moves it forward has the turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from .catalogue import Catalogue
from .clock import DAY, MINUTE, SECOND, Clock, SteadyClock
from .documents import Collection
from .grants import Grants
from .nodes import Nodes
from .output import Outputs
from .ports import Store, Tx
from .queue import Queue

T = TypeVar("T")

turns = Collection("duty", int)
"""When each duty is due next, microseconds UTC."""

TICK_SECONDS = 1.0
PRUNED_AT_ONCE = 2000


class Duties:
    """Runs what is due, one after another, until cancelled; a failure is reported and tried at the next turn."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        queue: Queue,
        catalogue: Catalogue,
        grants: Grants,
        nodes: Nodes,
        outputs: Outputs,
        steps: SteadyClock | None = None,
        keep_events: int = 7 * DAY,
        report: Callable[[str, Exception], None],
    ) -> None:
        self._store, self._clock, self._report = store, clock, report
        self._queue, self._catalogue, self._grants = queue, catalogue, grants
        self._nodes, self._outputs = nodes, outputs
        self._steps, self._keep_events = steps, keep_events
        self._due: dict[str, int] = {}

    async def run(self) -> None:
        """Look once a second."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self.tick()

    async def tick(self) -> None:
        """Do everything that is due now."""
        await self._attempt("time", self._keep_up)
        for project, every in await self._attempt("look", self._busy) or ():
            await self._turn(f"sweep:{project}", every, partial(self._queue.sweep, project))
        await self._turn("prune", MINUTE, self._prune)
        await self._turn("output", MINUTE, lambda: self._outputs.prune(self._clock()))
        await self._attempt("nodes", self._nodes.notice)
        await self._turn("remains", 2 * SECOND, self._clear)
        await self._attempt("used", self._grants.write_used)

    async def _keep_up(self) -> None:
        """After a jump ahead (the machine slept, the clock was set) go on at the new time, and the leases with us.

        Inside the transaction, so that no claim falls between the two.
        """
        steps = self._steps
        by = steps.behind() if steps else 0
        if steps and by:

            def verb(tx: Tx) -> None:
                tx.move_leases(steps(), by)
                steps.jump(by)

            await self._store.write(verb)

    async def _busy(self) -> list[tuple[str, int]]:
        def query(tx: Tx) -> list[tuple[str, int]]:
            busy = tx.busy_projects()
            return [(project.id, project.policy.sweep_every) for project in tx.projects(busy).values()]

        return await self._store.read(query)

    async def _turn(self, name: str, every: int, duty: Callable[[], Awaitable[object]]) -> None:
        now = self._clock()
        if now < self._due.get(name, 0) <= now + every:  # later than that: the interval has become shorter
            return

        def verb(tx: Tx) -> tuple[bool, int]:
            stored = turns.get(tx, name)
            if stored and now < stored.value <= now + every:
                return False, stored.value
            turns.put(tx, name, now + every, expires=now + every)
            return True, now + every

        got = await self._attempt(name, lambda: self._store.write(verb))
        if got:
            mine, self._due[name] = got
            if mine:
                await self._attempt(name, duty)

    async def _prune(self) -> None:
        before = self._clock() - self._keep_events
        while await self._store.write(lambda tx: tx.prune_events(before, PRUNED_AT_ONCE)) == PRUNED_AT_ONCE:
            pass
        while await self._store.write(lambda tx: tx.prune_documents(self._clock(), PRUNED_AT_ONCE)) == PRUNED_AT_ONCE:
            pass

    async def _clear(self) -> None:
        while await self._catalogue.clear_remains():
            pass

    async def _attempt(self, name: str, duty: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await duty()
        except Exception as error:  # noqa: BLE001 - one failing duty must not end the others; it is reported
            self._report(name, error)
            return None

"""What the face does from time to time whoever is connected: give up what nobody will take, forget old results."""

import asyncio
from collections import Counter
from collections.abc import Callable

from treadle.core.access import Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.ledger import Ledger
from treadle.core.ports import Filter, Tx
from treadle.core.tasks import FINAL, State, Task
from treadle.faces.ufo.dispatching import PROJECT, Dispatching, errand_of, keys_of, names
from treadle.faces.ufo.options import Limits

EVERY_SECONDS = 5.0
FORGET_SECONDS = 60.0
PAGE = 500
FORGOTTEN_AT_ONCE = 50
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
LEFT = "Client not online: it left before it took the task up"
NEVER_CAME = "Client not online: it did not come while the task waited for it"
SYSTEM = Principal("ufo", "ufo", ("devices:*",))
"""Who acts where nobody asked."""


class Sweeping:
    """Looks at what waits and at what has ended. `online` says whether a client is connected here."""

    def __init__(
        self,
        fabric: Fabric,
        limits: Limits,
        dispatching: Dispatching,
        online: Callable[[str], bool],
        report: Callable[[str, Exception], None],
    ) -> None:
        self._fabric, self._limits, self._dispatching = fabric, limits, dispatching
        self._online, self._report = online, report
        self._absent: dict[str, int] = {}
        """Since when a client with tasks in its queue is nowhere to be seen."""

    async def run(self) -> None:
        """Until cancelled; what fails is reported and tried again."""
        now = asyncio.get_running_loop().time
        forget_at = now()
        while True:
            try:
                await self.give_up()
                if now() >= forget_at:
                    forget_at = now() + FORGET_SECONDS
                    await self.forget()
            except Exception as error:  # noqa: BLE001 - the next turn tries again; it is reported
                self._report("what waits for devices was not swept", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def give_up(self) -> None:
        """End the tasks whose client is absent for too long; count those that wait.

        A client may be connected to another replica: there it is at work, or takes the task at once. So it is absent
        everywhere if nothing of its queue runs while something waits there.
        """
        waiting, busy = await self._fabric.store.read(_waiting)
        now = self._fabric.clock()
        absent: dict[str, int] = {}
        counted: Counter[str] = Counter()
        for task in waiting:
            try:
                errand = errand_of(task)
            except Invalid:
                continue  # not ours; whoever claims it says so
            client = errand.client_id
            counted[client] += 1
            if task.queue in busy or self._online(client):
                continue
            since = absent.setdefault(client, self._absent.get(client, now))
            if errand.until is not None:
                if now >= errand.until:
                    await self._end(task, NEVER_CAME)
            elif now - max(since, task.created) >= self._limits.absence * SECOND:
                await self._end(task, LEFT)
        self._absent = absent
        self._dispatching.counted(counted)

    async def _end(self, task: Task, reason: str) -> None:
        try:
            await self._fabric.tasks.cancel(task.id, SYSTEM, reason)
        except (Conflict, NotFound):
            return  # it was taken, or is gone

    async def forget(self) -> None:
        """Remove the results that are older than their time, and the oldest of those that are too many."""
        while await self._forget_some():
            pass

    async def _forget_some(self) -> bool:
        """One page of them; whether there may be more."""
        oldest, surplus = await self._fabric.store.read(lambda tx: _oldest(tx, self._limits.kept))
        before = self._fabric.clock() - int(self._limits.retention * SECOND)
        old = [task.id for place, task in enumerate(oldest) if place < surplus or (task.finished or 0) < before]
        if old:
            await self._fabric.store.write(lambda tx: self._drop(tx, old))
        return bool(old)

    def _drop(self, tx: Tx, ids: list[str]) -> None:
        ledger = Ledger(tx, self._fabric.clock())
        for id, task in tx.tasks(ids).items():
            if task.state not in FINAL:
                continue
            ledger.drop(task, {"by": SYSTEM.name})
            try:
                keys = keys_of(errand_of(task), id)
            except Invalid:
                continue
            mine = [key for key, named in names.get_many(tx, keys).items() if named.task == id]
            names.delete(tx, *mine)
        ledger.write()


def _waiting(tx: Tx) -> tuple[list[Task], set[str]]:
    """What is queued, and the queues of which something runs."""
    project = tx.projects([PROJECT]).get(PROJECT)
    if project is None or not tx.tallies([project.id])[project.id].queued:
        return [], set()
    return _all(tx, project.id, "queued"), {task.queue for task in _all(tx, project.id, "running")}


def _oldest(tx: Tx, kept: int) -> tuple[list[Task], int]:
    """The first of what has ended, and how many more there are than are kept."""
    project = tx.projects([PROJECT]).get(PROJECT)
    if project is None:
        return [], 0
    tally = tx.tallies([project.id])[project.id]
    ended = sum(tally.of(state) for state in ENDED)
    which = Filter(project=project.id, states=ENDED)
    return tx.list_tasks(which, FORGOTTEN_AT_ONCE, 0) if ended else [], ended - kept


def _all(tx: Tx, project: str, state: State) -> list[Task]:
    which = Filter(project=project, states=(state,))
    found = page = tx.list_tasks(which, PAGE, 0)
    while len(page) == PAGE:
        page = tx.list_tasks(which, PAGE, len(found))
        found = [*found, *page]
    return found

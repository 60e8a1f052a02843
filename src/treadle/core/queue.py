"""The queue: every verb on tasks, as the faces call them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from . import leases, submitting, topics
from .access import Principal, guard
from .at_hand import AtHand
from .batching import Batched, Station
from .clock import SECOND, Clock
from .errors import Fault, Invalid, NotFound
from .events import Kind
from .ids import Ids
from .leases import Claim, Extend, Finish, Release
from .ledger import Ledger
from .ports import Bus, Filter, Store, Tx
from .projects import TaskType
from .submitting import Outcome, Submit
from .tasks import FINAL, Hold, Task
from .templates import missing, render

T = TypeVar("T")

POLL_SECONDS = 1.0
"""How often a waiting caller looks again although nobody told it to: covers lost hints, delays and lost leases."""


class Edit(Struct, frozen=True, kw_only=True):
    """What may be changed in a queued task; what is UNSET stays."""

    instructions: str | None | UnsetType = UNSET
    variables: dict[str, Any] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    batch: str | None | UnsetType = UNSET


class View(Struct, frozen=True):
    """A task as people see it: with its type's name and the instructions a worker reads."""

    task: Task
    type_name: str | None
    instructions: str | None


class Queue:
    """Submit, claim, extend, finish, cancel, requeue, edit, delete, look up, list and wait.

    Each change and its event commit together, and the answer comes after the fsync. The hot verbs ride together
    with whoever calls at the same time; they are objects that take one call, or with `many` several.
    """

    def __init__(self, store: Store, bus: Bus, clock: Clock, ids: Ids, types: AtHand[TaskType]) -> None:
        self._store, self._bus, self._clock, self._types = store, bus, clock, types
        station = Station(store)
        self.submit = Batched[Submit, list[Outcome]](
            station, lambda tx, calls: submitting.submit(tx, calls, clock(), ids)
        )
        """Make tasks; one outcome each, in order. Raises what refuses the whole call."""
        self._claim = Batched[Claim, list[Task]](station, lambda tx, calls: leases.claim(tx, calls, clock(), ids))
        self.extend = Batched[Extend, Task](station, lambda tx, calls: leases.extend(tx, calls, clock()))
        """Prolong a lease."""
        self.finish = Batched[Finish, Task](station, lambda tx, calls: leases.finish(tx, calls, clock()))
        """Hand in how a task ended."""
        self.release = Batched[Release, Task](station, lambda tx, calls: leases.release(tx, calls, clock()))
        """Give a task back untouched."""

    async def claim(self, call: Claim, wait: float = 0) -> list[Task]:
        """Take tasks; with `wait`, stay up to so many seconds until there is one."""
        if wait > 0:
            known = await self._store.read(lambda tx: tx.projects([call.project]))
            if call.project in known:
                call = replace(call, project=known[call.project].id)
        return await self._until(topics.queue(call.project), wait, lambda: self._take(call), bool)

    async def _take(self, call: Claim) -> list[Task]:
        """One claim that a cancelled caller cannot lose tasks by: what it would have got goes back untouched."""
        taking = self._claim(call)
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            if not call.resume:  # a resumed task is the worker's own, whoever asked for it
                taking.add_done_callback(self._give_back)
            raise

    def _give_back(self, taken: "asyncio.Future[list[Task]]") -> None:
        if not taken.cancelled() and taken.exception() is None:
            for task in taken.result():
                back = self.release(Release(task=task.id, by=Hold(task.attempts[-1].worker, fence=task.fence)))
                back.add_done_callback(lambda done: done.cancelled() or done.exception())  # or the lease runs out

    async def settled(self, id: str, wait: float) -> Task:
        """The task, after it has ended or so many seconds have passed."""
        return await self._until(topics.task(id), wait, lambda: self.get(id), lambda task: task.state in FINAL)

    async def cancel(self, id: str, by: Principal, reason: str | None = None) -> Task:
        """Call a task off; whoever holds it is refused from here on."""
        return await self._change(id, by, lambda task, now: task.cancelled(reason, now), "task.cancelled")

    async def requeue(self, id: str, by: Principal) -> Task:
        """Put a failed or cancelled task back with all its retries."""
        return await self._change(id, by, lambda task, now: task.requeued(now), "task.requeued")

    async def edit(self, id: str, edit: Edit, by: Principal) -> Task:
        """Change a queued task; its variables must still fill its type's template."""
        changes = {name: value for name, value in asdict(edit).items() if value is not UNSET}

        def verb(tx: Tx) -> Task:
            now = self._clock()
            before = changeable(tx, id, by)
            after = before.edited(now, **changes)
            if "variables" in changes and before.type:
                template = tx.types([before.type])[before.type].template
                lacking = missing(template or "", after.variables)
                if lacking:
                    told = f"Missing required template variables: {', '.join(lacking)}"
                    raise Invalid(Fault("variables", told, after.variables))
            ledger = Ledger(tx, now)
            ledger.move(before, after, "task.changed", {"by": by.name, "fields": sorted(changes)})
            tx.rewrite_tasks([after])
            ledger.write()
            return after

        return await self._store.write(verb)

    async def delete(self, id: str, by: Principal) -> None:
        """Remove a task that nobody works on."""

        def verb(tx: Tx) -> None:
            ledger = Ledger(tx, self._clock())
            ledger.drop(changeable(tx, id, by).removable(), {"by": by.name})
            ledger.write()

        await self._store.write(verb)

    async def get(self, id: str) -> Task:
        """The task as it stands."""
        return await self._store.read(lambda tx: the_task(tx, id))

    async def views(self, tasks: Sequence[Task]) -> list[View]:
        """The tasks with what their types say at this moment."""
        types = await self._types.get_many({task.type for task in tasks if task.type})
        views = []
        for task in tasks:
            type = types.get(task.type or "")
            text = task.instructions
            if text is None and type and type.template:
                text = render(type.template, task.variables)
            views.append(View(task, type.name if type else None, text))
        return views

    async def page(self, which: Filter, limit: int = 100, offset: int = 0) -> list[Task]:
        """Tasks of a project in creation order."""
        return await self._store.read(lambda tx: tx.list_tasks(which, limit, offset))

    async def count(self, which: Filter) -> int:
        """How many tasks a list would show in all."""
        return await self._store.read(lambda tx: tx.count_tasks(which))

    async def resolve(self, face: str, name: str, project: str | None = None) -> str:
        """The task that a face's own name stands for: in the project if given, else the newest of that name."""
        id = await self._store.read(lambda tx: tx.alias(face, project, name))
        if id is None:
            raise NotFound("Task", name)
        return id

    async def sweep(self, project: str) -> list[Task]:
        """Put back or fail every task of a project whose lease ran out; the tasks as they were."""
        swept: list[Task] = []
        while True:
            lost = await self._store.write(lambda tx: leases.sweep(tx, project, self._clock()))
            swept += lost
            if len(lost) < leases.SWEPT_AT_ONCE:
                return swept

    async def _change(self, id: str, by: Principal, rule: Callable[[Task, int], Task], kind: Kind) -> Task:
        def verb(tx: Tx) -> Task:
            now = self._clock()
            before = changeable(tx, id, by)
            ledger = Ledger(tx, now)
            after = ledger.move(before, rule(before, now), kind, {"by": by.name})
            ledger.write()
            return after

        return await self._store.write(verb)

    async def _until(self, topic: str, wait: float, look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
        if wait <= 0:
            return await look()
        deadline = self._clock() + int(wait * SECOND)
        with self._bus.listen(topic) as listener:
            while True:
                seen = await look()
                left = (deadline - self._clock()) / SECOND
                if enough(seen) or left <= 0:
                    return seen
                await listener.heard(min(left, POLL_SECONDS))


def the_task(tx: Tx, id: str) -> Task:
    """The task of this id, or NotFound; also where its project is gone and its row still waits to be removed."""
    found = tx.tasks([id]).get(id)
    if found is None or not tx.projects([found.project]):
        raise NotFound("Task", id)
    return found


def changeable(tx: Tx, id: str, by: Principal) -> Task:
    """The task, if this principal may change it. Raises NotFound and Denied."""
    task = the_task(tx, id)
    guard(task.kind, by)
    return task

"""A replica is what one process of ours amounts to: a fabric on a store, with a clock that moves only when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from tests.core.stage import ANN, HandClock
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.core.catalogue import NewType
from treadle.core.events import Event
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.leases import Claim, Finish
from treadle.core.ports import Store
from treadle.core.projects import Project, Tally, TaskType
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result, Task

DONE = Result(ok=True, output="done")


@dataclass
class Replica:
    """What a test holds in its hands; several may share one clock and one truth."""

    store: Store
    clock: HandClock = field(default_factory=HandClock)
    fabric: Fabric = field(init=False)

    def __post_init__(self) -> None:
        self.fabric = Fabric(self.store, LocalBus(), self.clock, new_id, unprinted(self.clock), report=_never)

    async def project(self, name: str = "looms") -> Project:
        return (await self.fabric.projects.create(name, ANN)).project

    async def type(self, project: Project, new: NewType) -> TaskType:
        return await self.fabric.projects.create_type(project.id, new, ANN)

    async def submit(self, project: Project, *new: NewTask) -> list[Task]:
        """New tasks, all of which must have been made (or stood there already)."""
        made = await self.fabric.tasks.submit(Submit(project=project.id, tasks=new or (NewTask(),), by=ANN))
        assert all(isinstance(task, Task) for task in made), made
        return [task for task in made if isinstance(task, Task)]

    async def claim(
        self, project: Project, worker: str = "w", *, count: int = 1, lease: int | None = None
    ) -> list[Task]:
        return await self.fabric.tasks.claim(Claim(project=project.id, worker=worker, count=count, lease=lease))

    async def resume(self, project: Project, worker: str, holder: str) -> Task | None:
        """What a worker that may hold a task already gets, through one session."""
        got = await self.fabric.tasks.claim(Claim(project=project.id, worker=worker, holder=holder, resume=True))
        return got[0] if got else None

    async def finish(self, task: Task, by: Hold | None = None, result: Result = DONE) -> Task:
        return await self.fabric.tasks.finish(Finish(task=task.id, by=by or Hold(fence=task.fence), result=result))

    async def tally(self, project: Project) -> Tally:
        return (await self.fabric.projects.get(project.id)).tally


def named(tasks: Sequence[Task]) -> list[str | None]:
    return [task.name for task in tasks]


async def follow(replica: Replica, cursor: int, count: int, project: str | None = None) -> list[Event]:
    """The next so many facts; a fact settles a moment after its commit where other transactions are still running."""
    seen: list[Event] = []
    async with asyncio.timeout(20), aclosing(replica.fabric.events.follow(cursor, project)) as facts:
        async for event in facts:
            seen.append(event)
            if len(seen) == count:
                return seen
    raise AssertionError("a log that is followed has no end")


def _never(name: str, error: Exception) -> None:
    raise AssertionError(f"{name}: {error!r}")

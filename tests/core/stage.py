"""The stage on which verbs are tried: a fabric on a store of its own, with a clock that moves only when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import SqliteStore, open_sqlite
from treadle.core.access import Principal
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.core.ids import Ids
from treadle.core.projects import Project
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task

ANN = Principal("ann", "native")
"""Somebody who may do everything that these tests do."""


class HandClock:
    """Microseconds UTC that pass when a test says so."""

    def __init__(self, now: int = 1_700_000_000 * SECOND) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def numbered() -> Ids:
    """Ids in the order in which they were asked for."""
    numbers = count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012}"


@dataclass
class Stage:
    """What a test holds in its hands."""

    store: SqliteStore
    fabric: Fabric
    clock: HandClock
    reports: list[tuple[str, Exception]] = field(default_factory=list)

    async def project(self, name: str = "looms") -> Project:
        return (await self.fabric.projects.create(name, ANN)).project

    async def submit(self, project: Project, *new: NewTask) -> list[Task]:
        """New tasks, all of which must have been made."""
        made = await self.fabric.tasks.submit(Submit(project=project.id, tasks=new or (NewTask(),), by=ANN))
        assert all(isinstance(task, Task) for task in made), made
        return [task for task in made if isinstance(task, Task)]


@asynccontextmanager
async def set_stage(path: Path) -> AsyncIterator[Stage]:
    """A fabric on the SQLite file at this path, from opening to close."""
    store = await open_sqlite(path)
    clock = HandClock()
    reports: list[tuple[str, Exception]] = []
    fabric = Fabric(
        store, LocalBus(), clock, numbered(), unprinted(clock), report=lambda name, error: reports.append((name, error))
    )
    try:
        yield Stage(store, fabric, clock, reports)
    finally:
        await store.close()

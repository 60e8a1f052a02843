"""After a jump of the wall clock, such as a night's sleep: the new time at once, and every lease as long as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.core.stage import ANN, numbered
from tests.core.test_clock import Machine
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import HOUR, MINUTE, SECOND
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim
from treadle.core.projects import Policy
from treadle.core.submitting import NewTask, Submit


@asynccontextmanager
async def laptop(machine: Machine, home: Path) -> AsyncIterator[Fabric]:
    store = await open_sqlite(home / "treadle.db")
    reports: list[tuple[str, Exception]] = []

    def report(name: str, error: Exception) -> None:
        reports.append((name, error))

    try:
        yield Fabric(
            store, LocalBus(), machine.clock, numbered(), unprinted(machine.clock), report=report, steps=machine.clock
        )
    finally:
        await store.close()
    assert reports == []


@pytest.mark.parametrize("asleep", [10 * SECOND, HOUR, 8 * HOUR])
async def test_who_slept_goes_on_at_the_new_time_with_its_leases(tmp_path: Path, asleep: int) -> None:
    machine = Machine()
    async with laptop(machine, tmp_path) as fabric:
        project = (await fabric.projects.create("looms", ANN, policy=Policy(max_retries=0, lease=10 * MINUTE))).project
        await fabric.tasks.submit(Submit(project=project.id, tasks=[NewTask(), NewTask()], by=ANN))
        (lost,) = await fabric.tasks.claim(Claim(project=project.id, worker="gone", lease=MINUTE))
        machine.live(2 * MINUTE)
        (held,) = await fabric.tasks.claim(Claim(project=project.id, worker="ann"))
        machine.live(4 * MINUTE)

        machine.step(asleep)
        await fabric.duties.tick()

        assert abs(machine.clock() - machine.wall_us) <= 2 * SECOND
        kept = await fabric.tasks.get(held.id)
        assert kept.lease
        assert held.lease
        assert kept.lease.until == pytest.approx(held.lease.until + asleep, abs=2 * SECOND)
        assert (await fabric.tasks.get(lost.id)).state == "failed"  # what had run out before stays lost
        machine.live(5 * MINUTE)
        assert await fabric.tasks.sweep(project.id) == []
        machine.live(2 * MINUTE)
        assert [task.id for task in await fabric.tasks.sweep(project.id)] == [held.id]

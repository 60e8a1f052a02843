"""What the queue promises beyond the moves of a task: callers that leave, and a wall clock that is set."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tests.core.stage import ANN, Stage, numbered
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.clock import HOUR, MINUTE, SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim
from treadle.core.ports import Tx
from treadle.core.submitting import NewTask, Submit


@pytest.mark.parametrize("leaves", ["before it is given", "after it is given"])
async def test_a_claimer_that_leaves_takes_nothing_along(stage: Stage, leaves: str) -> None:
    project = await stage.project()
    (task,) = await stage.submit(project)
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(tx: Tx) -> None:
        begun.set()
        go_on.wait(30)

    held_up = stage.store.write(hold_up)
    await asyncio.to_thread(begun.wait, 30)
    claiming = asyncio.create_task(stage.fabric.tasks.claim(Claim(project=project.id, worker="gone")))
    await asyncio.sleep(0)
    if leaves == "after it is given":
        await asyncio.sleep(0)  # the claim is on its way to the store and cannot be called back
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    go_on.set()
    await held_up
    async with asyncio.timeout(30):
        (given,) = await stage.fabric.tasks.claim(Claim(project=project.id, worker="here"), wait=30)
    assert given.id == task.id
    assert given.retries == 0  # the try of the one who left does not count


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_setting_the_wall_clock_by_an_hour_neither_loses_nor_doubles_a_lease(tmp_path: Path, step: int) -> None:
    wall, monotonic = 1_700_000_000_000_000, 0
    clock = SteadyClock(lambda: wall * 1000, lambda: monotonic * 1000)

    def live(minutes: float) -> None:
        nonlocal wall, monotonic
        for _ in range(int(minutes * 60)):  # as often as the duties look
            wall, monotonic = wall + MINUTE // 60, monotonic + MINUTE // 60
            clock()

    store = await open_sqlite(tmp_path / "treadle.db")
    try:
        fabric = Fabric(store, LocalBus(), clock, numbered(), unprinted(clock), report=lambda duty, error: None)
        project = (await fabric.projects.create("looms", ANN)).project.id
        await fabric.tasks.submit(Submit(project=project, tasks=[NewTask()], by=ANN))
        (task,) = await fabric.tasks.claim(Claim(project=project, worker="w", lease=10 * MINUTE))
        live(5)
        wall += step
        assert await fabric.tasks.sweep(project) == []
        live(4)
        assert await fabric.tasks.sweep(project) == []
        live(2.5)
        assert [lost.id for lost in await fabric.tasks.sweep(project)] == [task.id]
    finally:
        await store.close()

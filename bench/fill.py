"""Fills a home's store through the core's own verbs, without a server: what a month of use would leave behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.access import Principal
from treadle.core.catalogue import NewType
from treadle.core.clock import SteadyClock
from treadle.core.errors import Duplicate
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.leases import Claim, Finish
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result

PROJECT = "filled"
TOGETHER = 1000


async def fill(home: Path, queued: int, finished: int) -> None:
    """Makes project `filled` with type `t`, and in it so many finished and then so many queued tasks."""
    store = await open_sqlite(home / "treadle.db")
    fabric = Fabric(store, LocalBus(), SteadyClock(), new_id, unprinted(SteadyClock()), report=lambda duty, error: None)
    me = Principal("bench", "bench", ("*",))
    try:
        await fabric.projects.create(PROJECT, me)
        await fabric.projects.create_type(PROJECT, NewType(name="t", template="do {{a}}"), me)
    except Duplicate:
        pass
    for first in range(0, finished, TOGETHER):
        await _submit(fabric, me, range(first, min(first + TOGETHER, finished)))
        taken = await fabric.tasks.claim(Claim(project=PROJECT, worker="filler", count=TOGETHER))
        done = Result(ok=True, output="ok")
        await fabric.tasks.finish.many([Finish(task=t.id, by=Hold(fence=t.fence), result=done) for t in taken])
    for first in range(0, queued, TOGETHER):
        await _submit(fabric, me, range(first, min(first + TOGETHER, queued)))
    await store.close()


async def _submit(fabric: Fabric, me: Principal, numbers: range) -> None:
    tasks = [NewTask(type="t", variables={"a": str(number)}) for number in numbers]
    await fabric.tasks.submit(Submit(project=PROJECT, tasks=tasks, by=me))


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

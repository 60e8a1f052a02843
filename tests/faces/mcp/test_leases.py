"""What the tools say of leases as time passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.core.stage import ANN, HandClock
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.access import Principal
from treadle.core.actions import Answer, Caller, by_name
from treadle.core.catalogue import NewType
from treadle.core.clock import DAY, MINUTE, SECOND
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.projects import Policy
from treadle.core.submitting import NewTask, Submit
from treadle.faces.taskdriver.tools import tools


class Agent:
    """Calls the tools as MCP does, without the wire."""

    def __init__(self, fabric: Fabric, conversation: str | None) -> None:
        self._fabric = fabric
        self._actions = by_name(tools(fabric.clock, Policy()))
        self._caller = Caller(Principal("ann", "fabric", ("queue:*",)), conversation)

    async def __call__(self, name: str, **arguments: Any) -> Answer:
        action = self._actions[name]
        return await action.perform(self._fabric, self._caller, msgspec.convert(arguments, action.params))

    async def data(self, name: str, **arguments: Any) -> Any:
        return (await self(name, **arguments)).data


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def fabric(tmp_path: Path, clock: HandClock) -> AsyncIterator[Fabric]:
    """A fabric with one project, `looms`, and two tasks whose lease lasts a minute."""
    store = await open_sqlite(tmp_path / "treadle.db")
    failed: list[Exception] = []
    made = Fabric(store, LocalBus(), clock, new_id, unprinted(clock), report=lambda _, error: failed.append(error))
    project = (await made.projects.create("looms", ANN)).project
    await made.projects.create_type(project.id, NewType(name="spin", lease=MINUTE), ANN)
    await made.tasks.submit(Submit(project=project.id, tasks=[NewTask(type="spin")] * 2, by=ANN))
    yield made
    await store.close()
    assert failed == []


async def test_a_lease_that_ran_out_is_counted_and_put_back(fabric: Fabric, clock: HandClock) -> None:
    agent = Agent(fabric, "one")
    await agent("get_next_task", projectId="looms", agentName="w1")
    clock.advance(61)
    counts = (await agent.data("get_lease_stats", projectId="looms")).stats
    assert (counts.totalRunningTasks, counts.expiredTasks) == (1, 1)
    assert (await agent.data("peek_next_task", projectId="looms")).availableTasks == 2
    assert await agent.data("list_active_agents", projectId="looms") == []
    swept = await agent.data("cleanup_expired_leases", projectId="looms")
    assert (swept.reclaimedTasks, swept.cleanedAgents) == (1, 1)
    assert (await agent.data("get_lease_stats", projectId="looms")).stats.tasksByStatus["queued"] == 2


async def test_an_extension_is_added_to_the_end_of_the_lease(fabric: Fabric, clock: HandClock) -> None:
    agent = Agent(fabric, None)
    task = await agent.data("get_next_task", projectId="looms", agentName="w1")
    clock.advance(30)
    until = (await agent.data("extend_task_lease", taskId=task.id, extensionMinutes=1.5)).newExpiresAt
    held = await fabric.tasks.get(task.id)
    assert held.lease is not None
    assert held.lease.until == clock() + 2 * MINUTE
    assert until == (await agent.data("get_task", taskId=task.id)).leaseExpiresAt


async def test_names_are_remembered_by_conversation_and_for_a_week(fabric: Fabric, clock: HandClock) -> None:
    async def name(of: Agent) -> str:
        return str((await of("get_next_task", projectId="looms")).beside["agentName"])

    one, other, nobody = Agent(fabric, "one"), Agent(fabric, "other"), Agent(fabric, None)
    first = await name(one)
    clock.advance(1)
    assert await name(one) == first
    assert await name(other) != first
    assert await name(nobody) != await name(nobody)
    clock.advance(8 * DAY // SECOND)
    await fabric.duties.tick()
    assert await name(one) != first

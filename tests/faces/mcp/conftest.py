"""One real server for each module, one project for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faces.mcp.asking import Tools, over_http, running
from tests.scenarios.serving import Running
from treadle.core.ids import new_id


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("mcp")) as server:
        yield server


@pytest.fixture
async def tools(up: Running) -> AsyncIterator[Tools]:
    """A client with a session, held by a task of its own: the SDK wants to be left by the task that entered it."""
    entered: asyncio.Future[Tools] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with over_http(up) as client:
            entered.set_result(client)
            await done.wait()

    holding = asyncio.create_task(hold())
    await asyncio.wait((holding, entered), return_when=asyncio.FIRST_COMPLETED)
    if entered.done():
        yield entered.result()
    done.set()
    await holding


@pytest.fixture
async def project(tools: Tools) -> str:
    """The name of a project with one task type, `greet`."""
    name = f"p-{new_id()}"
    await tools("create_project", name=name, description="For one test")
    await tools("create_task_type", projectId=name, name="greet", template="Greet {{who}}", maxRetries=1)
    return name

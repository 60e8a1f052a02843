"""Further MCP servers: real processes with MCP on their standard streams, kept alive and ended with the device."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import types

from tests.node.watching import ENV, marked, until
from treadle.device.frames import Command
from treadle.device.tools.configuration import Stdio, Wrong, configured
from treadle.device.tools.servers import Further
from treadle.device.tools.toolbox import Away, Toolbox
from treadle.node.processes import Processes

SERVER = str(Path(__file__).with_name("small_server.py"))


@asynccontextmanager
async def small(processes: Processes, mark: str, *arguments: str, **more: Any) -> AsyncIterator[Further]:
    stdio = Stdio(sys.executable, (SERVER, *arguments), env={"MARK": mark, **more.pop("env", {})}, **more)
    further = Further("small", stdio, processes, ENV, lambda _, __: 0.01)
    running = asyncio.create_task(further.run())
    try:
        await further.tried.wait()
        yield further
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert marked(f"MARK={mark}") == []


async def test_its_tools_are_the_devices(processes: Processes, tmp_path: Path) -> None:
    async with small(processes, tmp_path.name, tool_type="data_collection", env={"SAID": "so"}) as further:
        box = Toolbox([further])
        listed = {tool["tool_name"]: tool for tool in await box.list_tools()}
        assert listed["add"]["tool_key"] == "data_collection::add"
        assert listed["add"]["namespace"] == "small"
        assert listed["add"]["description"] == "Add two numbers."
        result = await box.call(Command("add", parameters={"a": 2, "b": 3}, call_id="c"))
        assert (result.status, result.result, result.namespace) == ("success", 5, "small")
        assert (await box.call(Command("variable", parameters={"name": "SAID"}))).result == "so"
        wrong = await box.call(Command("add", parameters={"a": "two"}))
        assert wrong.status == "failure"
        assert wrong.error


async def test_large_answers_come_whole(processes: Processes, tmp_path: Path) -> None:
    async with small(processes, tmp_path.name) as further:
        result = await Toolbox([further]).call(Command("big", parameters={"size": 3_000_000}))
        assert result.result == "x" * 3_000_000


async def test_a_server_that_ends_fails_its_call_and_is_started_again(processes: Processes, tmp_path: Path) -> None:
    async with small(processes, tmp_path.name) as further:
        first = text(await further.call("pid", {}))
        with pytest.raises(Away, match="ended while it ran die"):
            await further.call("die", {})
        second = await again(further)
        assert second != first
        os.kill(int(second), 9)  # nobody is asking it anything
        third = await again(further, unlike=second)
        assert third not in (first, second)


def text(answer: types.CallToolResult) -> str:
    (item,) = answer.content
    assert isinstance(item, types.TextContent)
    return item.text


async def again(further: Further, unlike: str = "") -> str:
    """The pid of a server that answers."""
    async with asyncio.timeout(20):
        while True:
            try:
                found = text(await further.call("pid", {}))
            except Away:
                found = unlike
            if found != unlike:
                return found
            await asyncio.sleep(0.02)


async def test_a_server_that_cannot_start_is_away_and_says_why(processes: Processes, tmp_path: Path) -> None:
    async with small(processes, tmp_path.name, "--broken") as further:
        with pytest.raises(Away, match="cannot be asked now"):
            await further.call("add", {"a": 1, "b": 2})
        assert await Toolbox([further]).list_tools() == []
    further = Further("none", Stdio("no-such-program-anywhere"), processes, ENV, lambda _, __: 60.0)
    running = asyncio.create_task(further.run())
    await further.tried.wait()
    with pytest.raises(Away, match="no-such-program-anywhere"):
        await further.tools()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_server_that_does_not_listen_is_ended_with_us(processes: Processes, tmp_path: Path) -> None:
    stdio = Stdio(sys.executable, (SERVER, "--deaf"), env={"MARK": tmp_path.name})
    running = asyncio.create_task(Further("deaf", stdio, processes, ENV, lambda _, __: 60.0).run())
    await until(lambda: bool(marked(f"MARK={tmp_path.name}")))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert marked(f"MARK={tmp_path.name}") == []


def test_a_configuration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": {"command": "x", "args": ["y"], "later": 1}}, "more": 2}))
    assert configured(file) == {"a": Stdio("x", ("y",))}


@pytest.mark.parametrize(
    "content",
    ["{", "{}", '{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {"command": ""}}}',
     '{"mcpServers": {"a/b": {"command": "x"}}}', '{"mcpServers": {"a": {"command": "x", "tool_type": "z"}}}'],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "mcp.json").write_text(content)
    with pytest.raises(Wrong):
        configured(tmp_path / "mcp.json")


def test_a_configuration_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="no such file"):
        configured(tmp_path / "mcp.json")

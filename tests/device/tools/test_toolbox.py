"""All tools of a device: as AIP lists them, and what its results look like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server

from tests.node.watching import ENV
from treadle.device.frames import Command, Result
from treadle.device.tools.commands import Commands
from treadle.device.tools.machine import own_tools, server
from treadle.device.tools.roots import Roots
from treadle.device.tools.servers import InProcess
from treadle.device.tools.toolbox import Toolbox
from treadle.node.inventory import Inventory
from treadle.node.processes import Processes

Context = ServerRequestContext[Any, Any]
OTHERS: dict[str, types.CallToolResult] = {
    "text": types.CallToolResult(content=[types.TextContent(text="just text")]),
    "wrapped": types.CallToolResult(content=[types.TextContent(text="3")], structured_content={"result": 3}),
    "object": types.CallToolResult(content=[types.TextContent(text="{}")], structured_content={"a": [1]}),
    "picture": types.CallToolResult(content=[types.ImageContent(data="QUJD", mime_type="image/png")]),
    "several": types.CallToolResult(content=[types.TextContent(text="a"), types.TextContent(text="b")]),
    "nothing": types.CallToolResult(content=[]),
    "error": types.CallToolResult(content=[types.TextContent(text="it went wrong")], is_error=True),
    "read_file": types.CallToolResult(content=[types.TextContent(text="the other's")]),
    "list_tools": types.CallToolResult(content=[types.TextContent(text="the other's list")]),
}


def other() -> Server[Any]:
    """An MCP server whose tools say the above."""

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        schema = {"type": "object"}
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema) for name in OTHERS])

    async def call_tool(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        return OTHERS[params.name]

    return Server("other", on_list_tools=list_tools, on_call_tool=call_tool)


@pytest.fixture
async def box(processes: Processes, tmp_path: Path) -> AsyncIterator[Toolbox]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "note").write_text("hello")
    roots = Roots([root])
    env = {**ENV, "DISPLAY": ":9"}
    own = own_tools(Commands(processes, roots, env), roots, Inventory(tmp_path), env)
    ready, done = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def hold() -> None:  # the SDK wants to be left by the task that entered it, and fixtures are not
        async with InProcess(server(own)) as machine, InProcess(other()) as another:
            ready.set_result(Toolbox([machine, another]))
            await done.wait()

    holding = asyncio.create_task(hold())
    yield await ready
    done.set()
    await holding
    roots.close()


async def call(box: Toolbox, name: str, /, **args: Any) -> Result:
    return await box.call(Command(name, parameters=args, call_id="c-1"))


async def test_a_tool_is_described_as_the_document_has_it(box: Toolbox) -> None:
    listed = {tool["tool_name"]: tool for tool in await box.list_tools()}
    command = listed["execute_command"]
    assert set(command) == {
        "tool_key", "tool_name", "title", "namespace", "tool_type", "description", "input_schema", "output_schema",
        "meta", "annotations",
    }  # fmt: skip
    assert command["tool_key"] == "action::execute_command"
    assert command["namespace"] == "treadle"
    schema = command["input_schema"]
    assert (schema["type"], schema["required"]) == ("object", ["command"])
    assert set(schema["properties"]) == {"command", "timeout", "cwd"}
    assert "$ref" not in json.dumps(schema)
    assert listed["capture_screenshot"]["tool_key"] == "data_collection::capture_screenshot"


async def test_names_that_are_taken_get_their_namespace(box: Toolbox) -> None:
    names = [tool["tool_name"] for tool in await box.list_tools()]
    assert names[:6] == [
        "execute_command", "get_system_info", "read_file", "write_file", "list_directory", "capture_screenshot",
    ]  # fmt: skip
    assert {"text", "other__read_file", "other__list_tools"} <= set(names)
    assert len(names) == len(set(names))
    assert (await call(box, "other__read_file")).result == "the other's"
    assert (await call(box, "read_file", path="note")).result["content"] == "hello"


async def test_the_meta_tool_filters(box: Toolbox) -> None:
    async def names(**args: Any) -> list[str]:
        result = await call(box, "list_tools", **args)
        assert (result.status, result.call_id) == ("success", "c-1")
        return [tool["tool_name"] for tool in result.result]

    assert await names(tool_type="data_collection") == ["capture_screenshot"]
    assert "capture_screenshot" not in await names(tool_type="action")
    assert "execute_command" not in await names(namespace="other")
    assert await names(namespace="nobody") == []
    assert "list_tools" not in await names()
    assert (await names(remove_meta=False))[0] == "list_tools"
    assert len(await names(tool_type=None, namespace=None)) == 6 + len(OTHERS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "just text"),
        ("wrapped", 3),
        ("object", {"a": [1]}),
        ("picture", "data:image/png;base64,QUJD"),
        ("several", ["a", "b"]),
        ("nothing", []),
    ],
)
async def test_what_a_tool_said_is_the_result(box: Toolbox, name: str, value: Any) -> None:
    assert await call(box, name) == Result("success", value, namespace="other", call_id="c-1")


async def test_a_tool_that_reports_an_error_has_failed(box: Toolbox) -> None:
    assert await call(box, "error") == Result("failure", error="it went wrong", namespace="other", call_id="c-1")


async def test_a_tool_that_ran_and_could_not_is_a_success_that_says_so(box: Toolbox) -> None:
    for result in (await call(box, "execute_command", command="exit 4"), await call(box, "read_file", path="/etc/x")):
        assert result.status == "success"
        assert result.result["success"] is False
        assert result.result["error"]


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("no_such_tool", {}, "there is no tool no_such_tool"),
        ("execute_command", {}, "missing required field `command`"),
        ("execute_command", {"command": "ls", "timeout": -1}, "$.timeout"),
        ("read_file", {"path": 3}, "$.path"),
        ("read_file", {"path": "note", "length": 10**12}, "$.length"),
    ],
)
async def test_a_call_that_cannot_be_made_has_failed(box: Toolbox, name: str, args: dict[str, Any], error: str) -> None:
    result = await call(box, name, **args)
    assert result.status == "failure"
    assert error in str(result.error)


async def test_system_information(box: Toolbox) -> None:
    said = (await call(box, "get_system_info", api_key="***")).result
    assert said["success"] is True
    assert said["memory"]["total"] > said["load"]["memory_used"] > 0


async def test_without_roots_and_display_those_tools_are_not_offered(processes: Processes, tmp_path: Path) -> None:
    roots = Roots([])
    own = own_tools(Commands(processes, roots, ENV), roots, Inventory(tmp_path), ENV)
    assert [tool.name for tool in own] == ["execute_command", "get_system_info"]

"""This machine's own tools as an MCP server in this process, made with the official SDK."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from msgspec import Struct

from treadle import __version__
from treadle.node.inventory import Inventory

from .commands import Commands, ExecuteCommand
from .files import Files, ListDirectory, ReadFile, WriteFile, failed
from .roots import Roots
from .screen import CaptureScreenshot, capture, encoded
from .system import GetSystemInfo, get_system_info, has_display

NAMESPACE = "treadle"
KIND = "treadle/tool_type"
"""Where a tool's `_meta` says of which AIP type it is."""
Said = dict[str, Any] | bytes
"""What a tool says: an object, or a picture."""


class Own(NamedTuple):
    """One of our tools."""

    name: str
    description: str
    takes: type[Struct]
    run: Callable[[Any], Awaitable[Said]]
    kind: str = "action"
    reads: bool = True


def own_tools(commands: Commands, roots: Roots, inventory: Inventory, env: Mapping[str, str]) -> list[Own]:
    """What this machine offers now: no file tools without roots, no pictures without a display."""
    files, where = Files(roots), f"Folders: {', '.join(roots.paths)}."

    async def screenshot(_: CaptureScreenshot) -> Said:
        return await capture(commands, env)

    async def info(_: GetSystemInfo) -> Said:
        return await asyncio.to_thread(get_system_info, inventory)

    tools = [
        Own("execute_command", "Run a command on this machine and return its exit code and what it printed.",
            ExecuteCommand, commands.execute, reads=False),
        Own("get_system_info", "What this machine is: system, processor, memory, disk, and their load.",
            GetSystemInfo, info),
    ]  # fmt: skip
    if roots:
        tools += [
            Own("read_file", f"Read a file. {where}", ReadFile, lambda asked: asyncio.to_thread(files.read, asked)),
            Own("write_file", f"Write a whole file; one that is there is replaced. {where}", WriteFile,
                lambda asked: asyncio.to_thread(files.write, asked), reads=False),
            Own("list_directory", f"List what lies in a folder. {where}", ListDirectory,
                lambda asked: asyncio.to_thread(files.list, asked)),
        ]  # fmt: skip
    if has_display(env):
        tools.append(
            Own("capture_screenshot", "A picture of the screen, as PNG.", CaptureScreenshot, screenshot,
                kind="data_collection")
        )  # fmt: skip
    return tools


def server(tools: list[Own]) -> Server[Any]:
    """The MCP server of these tools."""
    by_name = {tool.name: tool for tool in tools}
    schemas = {tool.name: _schema(tool.takes) for tool in tools}

    async def list_tools(
        _: ServerRequestContext[Any, Any], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=schemas[tool.name],
                    annotations=types.ToolAnnotations(read_only_hint=tool.reads),
                    _meta={KIND: tool.kind},
                )
                for tool in tools
            ]
        )

    async def call_tool(_: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            return _refused(f"there is no tool {params.name} on this device")
        try:
            asked = msgspec.convert(params.arguments or {}, tool.takes, strict=False)
        except msgspec.ValidationError as error:
            return _refused(f"{params.name}: {error}")
        said = await tool.run(asked)
        if isinstance(said, bytes):
            return types.CallToolResult(content=[types.ImageContent(data=encoded(said), mime_type="image/png")])
        text = msgspec.json.encode(said).decode()
        # a tool that ran and could not do it says so itself; that is no error of the protocol (spec 4.4)
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=said)

    return Server(NAMESPACE, version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def _refused(why: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=why)], structured_content=failed(why), is_error=True)


def _schema(takes: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of what a tool takes, in itself: models follow no references."""
    (schema,), parts = msgspec.json.schema_components([takes], ref_template="{name}")
    named = schema.get("$ref")
    whole = dict(parts[named]) if isinstance(named, str) else dict(schema)
    return {key: value for key, value in whole.items() if key not in ("title", "description")}

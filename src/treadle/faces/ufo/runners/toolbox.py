"""A device's tools as a runner sees them: what settings add to calls is neither shown nor repeated."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from treadle.faces.ufo.runners.injecting import Injection, hidden
from treadle.faces.ufo.running import (
    CommandFailed,
    CommandTimeout,
    DeviceIO,
    Kind,
    TaskSpec,
    Tool,
    ToolCall,
    ToolResult,
    agent_of,
)

WINDOWS_SECOND = "AppAgent"
"""On Windows the tools that act inside one application are a set of their own."""
COMMAND_TOOLS = {
    "execute_command": "command",
    "run_command": "command",
    "run_shell": "bash_command",
    "shell": "command",
    "exec": "command",
    "bash": "command",
}
"""Tools that run a command line and the parameter that takes it, where the device's schema does not say."""
_META = {"list_tools"}
_MOST_TOOLS = 200
_SECOND_SECONDS = 15.0


class _Listed(Struct):
    """A tool as `list_tools` describes it (spec 4.4)."""

    tool_name: str
    namespace: str | None = None
    tool_type: Kind = "action"
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class Toolbox:
    """The tools of one device for one session."""

    def __init__(self, io: DeviceIO, injection: Injection) -> None:
        self.tools: dict[str, Tool] = {}
        self._io, self._injection, self._secrets = io, injection, injection.secrets()
        self._agents: dict[str, str] = {}
        self._root = ""

    @classmethod
    async def open(
        cls, task: TaskSpec, io: DeviceIO, inject: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]
    ) -> "Toolbox":
        """Asks the device what it can do. Raises SessionError."""
        box = cls(io, Injection(inject, task.client_id, environment))
        box._add(await io.list_tools(), agent_of(task.platform))
        if task.platform == "windows":
            box._add(await _second_set(io), WINDOWS_SECOND)
        return box

    def _add(self, tools: list[Tool], agent: str) -> None:
        for tool in tools[:_MOST_TOOLS]:
            if tool.name not in self.tools and tool.name not in _META:
                self.tools[tool.name] = _without(tool, self._injection.names(tool.name))
                self._agents[tool.name] = agent

    async def call(self, name: str, args: Mapping[str, Any]) -> ToolResult:
        """Calls one of the tools. Raises KeyError for a tool that is not there, Unset, SessionError."""
        tool, agent = self.tools[name], self._agents[name]
        call = ToolCall(name, {**args, **self._injection.args(name)}, tool.kind)
        results = await self._io.call([call], agent=agent, root=self._root if agent == WINDOWS_SECOND else "")
        if not results:
            return ToolResult("failure", error="the device answered with no result")
        found = results[0]
        # Later calls inside the application that was chosen have to say which one it is.
        if name == "select_application_window" and isinstance(found.result, dict):
            self._root = str(found.result.get("root_name") or "")
        return msgspec.structs.replace(found, result=self.shown(found.result), error=self.shown(found.error))

    def shown(self, value: Any) -> Any:
        """A value without the secrets that settings add to this device's calls."""
        return hidden(value, self._secrets)

    def command(self) -> tuple[Tool, str] | None:
        """The tool that runs a command line and the parameter that takes the line, or None."""
        named = [self.tools[name] for name in COMMAND_TOOLS if name in self.tools]
        others = [tool for tool in self.tools.values() if tool.kind == "action" and tool not in named]
        for tool in named:
            if (parameter := line_parameter(tool)) is not None:
                return tool, parameter
        for tool in others:
            if {"command", "bash_command"} & set(_properties(tool)):
                return tool, "command" if "command" in _properties(tool) else "bash_command"
        return None


def line_parameter(tool: Tool) -> str | None:
    """Which parameter of a command tool takes the command line, from its schema and else by convention."""
    properties = _properties(tool)
    usual = COMMAND_TOOLS.get(tool.name, "command")
    for name in (usual, "command", "bash_command", "command_line", "cmd", "script"):
        if name in properties:
            return name
    texts = [name for name, schema in properties.items() if isinstance(schema, dict) and schema.get("type") == "string"]
    required = [name for name in texts if name in _required(tool)]
    if properties:
        return required[0] if len(required) == 1 else texts[0] if len(texts) == 1 else None
    return usual


def _without(tool: Tool, names: frozenset[str]) -> Tool:
    """The tool without the parameters that settings fill in; a command tool that names none gets the usual one."""
    schema, properties, required = tool.input_schema, _properties(tool), _required(tool)
    if not properties and tool.name in COMMAND_TOOLS:
        line = COMMAND_TOOLS[tool.name]
        properties, required = {line: {"type": "string", "description": "the command line"}}, [line]
    elif not names:
        return tool
    kept = {name: each for name, each in properties.items() if name not in names}
    needed = [name for name in required if name not in names]
    return msgspec.structs.replace(
        tool, input_schema={**schema, "type": "object", "properties": kept, "required": needed}
    )


def _properties(tool: Tool) -> dict[str, Any]:
    found = tool.input_schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(tool: Tool) -> list[str]:
    found = tool.input_schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


async def _second_set(io: DeviceIO) -> list[Tool]:
    """The tools of Windows' second set; none where the device does not know it."""
    found: list[Tool] = []
    kinds: tuple[Kind, ...] = ("action", "data_collection")
    try:
        async with asyncio.timeout(_SECOND_SECONDS):  # a device that lacks the set often says nothing (spec 5.5)
            for kind in kinds:
                call = ToolCall("list_tools", {"tool_type": kind}, kind)
                results = await io.call([call], agent=WINDOWS_SECOND)
                found += [tool for result in results if result.ok for tool in listed(result.result)]
    except (TimeoutError, CommandTimeout, CommandFailed):
        return []
    return found


def listed(result: Any) -> list[Tool]:
    """The tools in what `list_tools` answered; what is no description of a tool is passed over."""
    found = []
    for each in result if isinstance(result, list) else []:
        try:
            tool = msgspec.convert(each, _Listed)
        except msgspec.ValidationError:
            continue
        found.append(
            Tool(tool.tool_name, tool.tool_type, tool.namespace or "", tool.description or "", tool.input_schema or {})
        )
    return found

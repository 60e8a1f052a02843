"""All tools of a device, from its own MCP server and from further ones, as AIP names, lists and calls them."""

from collections.abc import Sequence
from typing import Any, Protocol

from mcp import types
from mcp.shared.exceptions import MCPError

from treadle.device.frames import Command, Result

from .machine import KIND, NAMESPACE

LIST_TOOLS = "list_tools"
"""The meta tool, which every device has (spec 8.4)."""


class Away(Exception):
    """A tool server that cannot be asked now: one line that says why."""


class Source(Protocol):
    """An MCP server, wherever it is. `kind` is the type of tools that name none themselves."""

    namespace: str
    kind: str

    async def tools(self) -> list[types.Tool]:
        """What it offers now. Raises Away and MCPError."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Raises Away and MCPError."""
        ...


class Toolbox:
    """The tools of several sources. Of two with one name, that of the earlier source keeps it."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    async def list_tools(
        self, tool_type: str | None = None, namespace: str | None = None, remove_meta: bool = True
    ) -> list[dict[str, Any]]:
        """The descriptions of spec 4.4. A server that is away has no tools."""
        found = [] if remove_meta else [_META]
        for name, source, tool in await self._offered():
            found.append(_described(name, source, tool))
        return [
            each for each in found if tool_type in (None, each["tool_type"]) and namespace in (None, each["namespace"])
        ]

    async def call(self, command: Command) -> Result:
        """Run one call. Whatever goes wrong is told in the result."""
        arguments = command.parameters or {}
        if command.tool_name == LIST_TOOLS:
            known = {key: arguments[key] for key in ("tool_type", "namespace", "remove_meta") if key in arguments}
            listed = await self.list_tools(**known)
            return Result("success", listed, namespace=NAMESPACE, call_id=command.call_id)
        offered = await self._offered(command.tool_name)
        if not offered:
            why = f"there is no tool {command.tool_name} on this device"
            return Result("failure", error=why, call_id=command.call_id)
        _, source, tool = offered[0]
        try:
            answer = await source.call(tool.name, arguments)
        except (Away, MCPError) as error:
            return Result("failure", error=str(error), namespace=source.namespace, call_id=command.call_id)
        if answer.is_error:
            why = _text(answer) or f"{command.tool_name} failed"
            return Result("failure", error=why, namespace=source.namespace, call_id=command.call_id)
        return Result("success", _value(answer), namespace=source.namespace, call_id=command.call_id)

    async def _offered(self, wanted: str | None = None) -> list[tuple[str, Source, types.Tool]]:
        """Every tool under the name by which it is called here; with `wanted` no further than that one."""
        found: dict[str, tuple[str, Source, types.Tool]] = {LIST_TOOLS: (LIST_TOOLS, self._sources[0], _NONE)}
        for source in self._sources:
            try:
                tools = await source.tools()
            except (Away, MCPError):
                continue
            for tool in tools:
                name = tool.name if tool.name not in found else f"{source.namespace}__{tool.name}"
                found.setdefault(name, (name, source, tool))
            if wanted in found:
                return [found[wanted]]
        del found[LIST_TOOLS]
        return list(found.values()) if wanted is None else []


_NONE = types.Tool(name=LIST_TOOLS, input_schema={"type": "object"})
_META = {
    "tool_key": f"action::{LIST_TOOLS}",
    "tool_name": LIST_TOOLS,
    "title": None,
    "namespace": NAMESPACE,
    "tool_type": "action",
    "description": "The tools of this device.",
    "input_schema": {
        "type": "object",
        "properties": {
            "tool_type": {"enum": ["action", "data_collection", None]},
            "namespace": {"type": ["string", "null"]},
            "remove_meta": {"type": "boolean", "default": True},
        },
    },
    "output_schema": None,
    "meta": None,
    "annotations": None,
}


def _described(name: str, source: Source, tool: types.Tool) -> dict[str, Any]:
    kind = (tool.meta or {}).get(KIND) or source.kind
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None
    return {
        "tool_key": f"{kind}::{name}",
        "tool_name": name,
        "title": tool.title,
        "namespace": source.namespace,
        "tool_type": kind,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "meta": None,
        "annotations": annotations,
    }


def _text(answer: types.CallToolResult) -> str:
    return "\n".join(item.text for item in answer.content if isinstance(item, types.TextContent))


def _value(answer: types.CallToolResult) -> Any:
    """What a tool said, as AIP carries it: its structured content, else its text or its picture, else all of it."""
    structured = answer.structured_content
    if isinstance(structured, dict) and set(structured) == {"result"}:
        return structured["result"]  # MCP wants an object, so SDKs wrap whatever is none
    if structured is not None:
        return structured
    items = [_item(item) for item in answer.content]
    return items[0] if len(items) == 1 else items


def _item(item: Any) -> Any:
    if isinstance(item, types.TextContent):
        return item.text
    if isinstance(item, types.ImageContent | types.AudioContent):
        return f"data:{item.mime_type};base64,{item.data}"
    return item.model_dump(mode="json", by_alias=True, exclude_none=True)

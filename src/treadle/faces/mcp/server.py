"""The SDK's server over a list of actions and one of prompts. This module imports the SDK; import it late."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server as Sdk
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from msgspec import UNSET

from treadle.core.actions import Action, Answer, Caller, Prompt, by_name
from treadle.core.errors import FabricError, Fault, Invalid, Malformed, NotFound, StoreUnavailable
from treadle.core.fabric import Fabric
from treadle.web.binding import Body
from treadle.web.call import Call, Reply

from .about import About
from .human import outline
from .schemas import FORMATS, input_schema

CALLER = "treadle.caller"
"""Where the ASGI scope that the SDK sees carries the caller."""
_OURS = frozenset((b"content-type", b"content-length"))
Context = ServerRequestContext[Any, Any]
_log = logging.getLogger(__name__)


class Server:
    """Answers MCP messages of either era of the protocol; every request stands alone."""

    def __init__(self, fabric: Fabric, actions: Sequence[Action], prompts: Sequence[Prompt], about: About) -> None:
        self._fabric = fabric
        self._actions, self._prompts = by_name(actions), by_name(prompts)
        self._readers = {action.name: Body(action.params) for action in actions}
        self._schemas = {action.name: input_schema(action.params) for action in actions}
        self._sdk: Sdk[Any] = Sdk(
            about.name,
            version=about.version,
            title=about.title,
            instructions=about.instructions,
            get_tool_input_schema=self._schemas.get,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
        )

    async def answer(self, call: Call, body: bytes, caller: Caller) -> Reply:
        """The SDK's answer to one HTTP request, whole: in JSON mode it streams nothing."""
        reply = Reply(media_type=b"text/plain; charset=utf-8")
        chunks: list[bytes] = []
        unread = [body]

        async def receive() -> dict[str, Any]:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await asyncio.Event().wait()  # whether the client is still there is the listener's to see
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                reply.status = message["status"]
                reply.media_type = headers.get(b"content-type", reply.media_type)
                reply.headers = tuple((name, value) for name, value in headers.items() if name not in _OURS)
            else:
                chunks.append(message.get("body", b""))

        manager = StreamableHTTPSessionManager(
            self._sdk, stateless=True, json_response=True, max_request_body_size=call.body_limit
        )
        async with manager.run():  # a manager serves once; what it starts for this request ends with it
            await manager.handle_request(_scope(call, caller), receive, send)
        reply.body = b"".join(chunks)
        return reply

    async def _list_tools(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=action.name,
                    description=action.summary,
                    input_schema=self._schemas[action.name],
                    annotations=types.ToolAnnotations(read_only_hint=action.reads, open_world_hint=False),
                )
                for action in self._actions.values()
            ]
        )

    async def _call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Runs an action. Whatever happens, also an unknown name, is told in one shape."""
        arguments = dict(params.arguments or {})
        human = arguments.get("format") == "human"
        try:
            told = spelled(await self._perform(params.name, arguments, _caller(context)))
        except FabricError as error:
            told = {"success": False, "error": words_of(error)}
        except Exception as error:  # noqa: BLE001  (whatever it is, the model is told in the one shape)
            _log.exception("action %s failed", params.name)
            told = {"success": False, "error": words_of(error)}
        text = outline(msgspec.to_builtins(told)) if human else msgspec.json.encode(told).decode()
        return types.CallToolResult(content=[types.TextContent(text=text)], is_error=not told["success"])

    async def _perform(self, name: str, arguments: dict[str, Any], caller: Caller) -> Answer:
        action = self._actions.get(name)
        if action is None:
            raise NotFound("Tool", name)
        wanted = arguments.pop("format", "json")
        if wanted not in FORMATS:
            raise Invalid(Fault("format", f'"format" must be one of [{", ".join(FORMATS)}]', wanted))
        try:
            raw = msgspec.json.encode(arguments)
        except ValueError as error:  # half of a surrogate pair, which a lax reader of JSON lets through
            raise Malformed("The arguments are not Unicode text") from error
        params = self._readers[name].json(raw)
        return await action.perform(self._fabric, caller, params)

    async def _list_prompts(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=prompt.name,
                    description=prompt.summary,
                    arguments=[
                        types.PromptArgument(name=each.name, description=each.summary, required=each.required)
                        for each in prompt.arguments
                    ],
                )
                for prompt in self._prompts.values()
            ]
        )

    async def _get_prompt(self, _: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        prompt = self._prompts.get(params.name)
        if prompt is None:
            raise MCPError(types.INVALID_PARAMS, f"Prompt {params.name} not found")
        given = {name: text for name, text in (params.arguments or {}).items() if text.strip()}
        missing = [each.name for each in prompt.arguments if each.required and each.name not in given]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"Prompt {params.name} needs {', '.join(missing)}")
        text = types.TextContent(text=prompt.text(given))
        return types.GetPromptResult(
            description=prompt.summary, messages=[types.PromptMessage(role="user", content=text)]
        )


def spelled(answer: Answer) -> dict[str, Any]:
    """An answer as `{success, data?, …, error?, message?}`."""
    told: dict[str, Any] = {"success": answer.refusal is None}
    if answer.data is not UNSET:
        told["data"] = answer.data
    told |= answer.beside
    if answer.refusal is not None:
        told["error"] = answer.refusal
    if answer.message is not None:
        told["message"] = answer.message
    return told


def words_of(error: Exception) -> str:
    """What the client reads. A store's error may name paths of this machine: its class's words stand for it."""
    if isinstance(error, Invalid):
        return f"Validation failed: {error.message}"
    if isinstance(error, StoreUnavailable):
        return type(error)().message
    return error.message if isinstance(error, FabricError) else "Internal server error"


def _caller(context: Context) -> Caller:
    request = context.request
    assert request is not None  # every message came in one
    caller: Caller = request.scope[CALLER]
    return caller


def _scope(call: Call, caller: Caller) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": call.scheme,
        "path": call.path,
        "raw_path": call.raw_path,
        "root_path": "",
        "query_string": b"",
        "headers": call.header_list,
        "client": (call.client, 0),
        "server": None,
        CALLER: caller,
    }

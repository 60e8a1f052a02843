"""The bridge between stdin and stdout and the running server's own MCP address, by the official SDK on both sides.

It knows no tool: it passes on what it is asked. Each request finds the server anew and stands alone, so a server that
is started again, even elsewhere, is only away for a moment. The bridge's life is one conversation.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
from mcp import types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.types.version import LATEST_MODERN_VERSION

from treadle.client.errors import ClientError, NoServer
from treadle.client.finding import Finder, Way

PATH = "/mcp"
TIMEOUT = 60.0
PATIENCE = 2.0
"""Seconds that a request waits for a server that is not there: it may be starting again."""
INTERRUPTED = 128 + signal.SIGINT
R = TypeVar("R", bound=types.Result)
Context = ServerRequestContext[Any, Any]


class NoAnswer(ClientError):
    """The server did not answer."""


class Refusal(ClientError):
    """The server answered, and did not let us in."""


def serve(finder: Finder) -> None:
    """Answers on stdin and stdout until stdin ends. Raises NoAnswer and Refusal if it cannot begin."""
    asyncio.run(_serve(finder))


async def _serve(finder: Finder) -> None:
    # a thread that reads stdin cannot be called off, so a loop that ended in the ordinary way would wait for it
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, INTERRUPTED)
    async with Upstream(finder) as upstream:
        async with upstream.reached(mode="auto") as client:
            server, instructions = client.server_info, client.instructions
        served = bridged(upstream, server or types.Implementation(name="treadle", version=""), instructions)
        async with stdio_server() as (received, sent):
            await served.run(received, sent, served.create_initialization_options())


class Upstream:
    """The way to the server. Use it as a context manager; it holds the connections."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._conversation = uuid.uuid4().hex
        self._way: Way | None = None
        self._http: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> "Upstream":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def ask(self, request: types.ClientRequest, result: type[R]) -> R:
        """The server's answer. What never left is asked again for a while; raises ClientError and MCPError."""
        until = monotonic() + PATIENCE
        while True:
            try:
                async with self.reached(mode=LATEST_MODERN_VERSION) as client:
                    return await client.session.send_request(request, result)
            except ClientError as error:
                unsent = isinstance(error, NoServer) or isinstance(error.__cause__, httpx2.ConnectError)
                if not unsent or monotonic() > until:
                    raise
            await asyncio.sleep(0.2)

    @asynccontextmanager
    async def reached(self, mode: str) -> AsyncIterator[Client]:
        """A client of the server as it is now; it fails with NoAnswer or Refusal, whatever the SDK wraps them in."""
        way = self._finder.find()
        transport = streamable_http_client(way.server + PATH, http_client=await self._connections(way))
        try:
            async with Client(transport, mode=mode, cache=None) as made:
                yield made
        except Exception as error:  # noqa: BLE001  (the SDK raises groups; what is none of these goes on as it came)
            known = _first(error, (Refusal, httpx2.HTTPError, MCPError))
            if isinstance(known, httpx2.HTTPError):
                reason = str(known).strip() or type(known).__name__
                raise NoAnswer(f"the server at {way.server} does not answer: {reason}") from known
            raise known or error from None

    async def _connections(self, way: Way) -> httpx2.AsyncClient:
        if self._http is None or way != self._way:
            before, self._way = self._http, way
            headers = {"mcp-session-id": self._conversation}
            if way.key:
                headers["authorization"] = f"Bearer {way.key}"
            local = urlsplit(way.server).hostname in ("localhost", "127.0.0.1", "::1")
            self._http = httpx2.AsyncClient(
                headers=headers,
                timeout=TIMEOUT,
                trust_env=not local,  # no proxy stands between a machine and itself
                event_hooks={"response": [_let_in]},
            )
            if before is not None:
                await before.aclose()
        return self._http


def bridged(upstream: Upstream, about: types.Implementation, instructions: str | None) -> Server[Any]:
    """A server that says of itself what the one behind it says, and asks that one everything else."""

    def passing(request: Callable[[Any], types.ClientRequest], result: type[R]) -> Callable[..., Awaitable[R]]:
        async def passed(_: Context, params: Any) -> R:
            if params is not None:
                params = params.model_copy(update={"meta": None})  # what is there is between us and our client
            try:
                return await upstream.ask(request(params), result)
            except ClientError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from error

        return passed

    tell = passing(lambda params: types.CallToolRequest(params=params), types.CallToolResult)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            return await tell(context, params)
        except MCPError as error:  # a model reads the results of its tools, and seldom the errors of the protocol
            text = msgspec.json.encode({"success": False, "error": error.message}).decode()
            return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)

    return Server(
        about.name,
        version=about.version,
        title=about.title,
        instructions=instructions,
        on_list_tools=passing(lambda params: types.ListToolsRequest(params=params), types.ListToolsResult),
        on_call_tool=call_tool,
        on_list_prompts=passing(lambda params: types.ListPromptsRequest(params=params), types.ListPromptsResult),
        on_get_prompt=passing(lambda params: types.GetPromptRequest(params=params), types.GetPromptResult),
    )


async def _let_in(response: httpx2.Response) -> None:
    """Raises Refusal, with the server's own words, where a key is missing or wrong or nobody speaks MCP."""
    if response.status_code in (401, 403, 404, 429, 503):
        body = await response.aread()
        try:
            said = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            said = {}
        if "jsonrpc" not in said:
            words = said.get("error") or f"it answered with status {response.status_code}"
            raise Refusal(f"the server at {response.url.copy_with(path='')} refused: {words}")


def _first(error: BaseException, kinds: tuple[type[Exception], ...]) -> Exception | None:
    """The first exception of these kinds in a group, however deep."""
    if isinstance(error, kinds):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = (_first(inner, kinds) for inner in error.exceptions)
        return next((each for each in found if each is not None), None)
    return None

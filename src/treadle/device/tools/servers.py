"""MCP servers as sources of tools: the one in this process, and further ones, each a process under a holder that is
started again when it ends.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, types
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from treadle.core.runs import Command
from treadle.device.pausing import Pauses
from treadle.node.processes import Processes

from .configuration import Stdio
from .stdio import GRACE, over_a_process
from .toolbox import Away

log = logging.getLogger("treadle.device")

START_SECONDS = 30.0
LIST_SECONDS = 10.0


class InProcess:
    """The source over a server of this process. Use it as a context manager."""

    kind = "action"

    def __init__(self, server: Server[Any]) -> None:
        self.namespace = server.name
        self._client = Client(server, cache=None)

    async def __aenter__(self) -> "InProcess":
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *about: Any) -> None:
        await self._client.__aexit__(*about)

    async def tools(self) -> list[types.Tool]:
        return (await self._client.list_tools()).tools

    async def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        return await self._client.call_tool(name, arguments)


class Further:
    """The source over a server that `run` keeps alive."""

    def __init__(
        self,
        namespace: str,
        stdio: Stdio,
        processes: Processes,
        env: Mapping[str, str],
        uniform: Callable[[float, float], float],
    ) -> None:
        self.namespace, self.kind = namespace, str(stdio.tool_type)
        self._stdio, self._processes, self._env = stdio, processes, env
        self._pauses = Pauses(uniform)
        self._client: Client | None = None
        self._why = "it is being started"
        self.tried = asyncio.Event()
        """Set when it has been up, or failed, for the first time."""

    async def run(self) -> None:
        """Keep the server running until cancelled, which ends it."""
        clock = asyncio.get_running_loop().time
        while True:
            began: float | None = None
            try:
                async with AsyncExitStack() as stack:
                    over = asyncio.Event()
                    async with asyncio.timeout(START_SECONDS):
                        streams = over_a_process(self._processes, self._command(), self._env, self.namespace, over)
                        client = await stack.enter_async_context(Client(streams, cache=None))
                    self._client, began = client, clock()
                    self.tried.set()
                    log.info("tool server %s is up", self.namespace)
                    await over.wait()
                    self._why = "it has ended and is being started again"
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  (the SDK raises what the server made it)
                self._why = _reason(error)
            finally:
                self._client = None
            self.tried.set()
            pause = self._pauses.after(0.0 if began is None else clock() - began)
            log.warning("tool server %s is away (again in %.1f s): %s", self.namespace, pause, self._why)
            await asyncio.sleep(pause)

    async def tools(self) -> list[types.Tool]:
        client, found, cursor = self._up(), [], None
        try:
            async with asyncio.timeout(LIST_SECONDS):
                while True:
                    page = await client.list_tools(cursor=cursor)
                    found += page.tools
                    cursor = page.next_cursor
                    if cursor is None:
                        return found
        except TimeoutError:
            raise Away(f"the tool server {self.namespace} does not answer") from None

    async def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        client = self._up()
        try:
            return await client.call_tool(name, arguments)
        except MCPError as error:
            if error.error.code == types.CONNECTION_CLOSED:
                raise Away(f"the tool server {self.namespace} ended while it ran {name}") from error
            raise

    def _command(self) -> Command:
        argv = (self._stdio.command, *self._stdio.args)
        return Command(argv=argv, cwd=self._stdio.cwd, env=self._stdio.env, stdin=True, grace=GRACE)

    def _up(self) -> Client:
        if self._client is None:
            raise Away(f"the tool server {self.namespace} cannot be asked now: {self._why}")
        return self._client


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not answer within {START_SECONDS:.0f} s"
    return str(error) or type(error).__name__

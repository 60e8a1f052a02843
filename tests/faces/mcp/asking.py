"""How the tests call tools: by the official SDK's client, whose answers they read as the model would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import CallToolResult, TextContent

from tests.scenarios.serving import Running, server


class Tools:
    """The tools behind one client. `Tools.name(...)` is a call that must succeed, `refused` one that must not."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def told(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """The whole answer, whatever it says; what the protocol says of it must agree."""
        result = await self.client.call_tool(name, arguments)
        told: dict[str, Any] = json.loads(text_of(result))
        assert result.is_error is not told["success"]
        return told

    async def __call__(self, name: str, /, **arguments: Any) -> Any:
        """The data of a call that went well."""
        told = await self.told(name, **arguments)
        assert told["success"], told
        return told["data"]

    async def refused(self, name: str, /, **arguments: Any) -> str:
        """Why a call was refused."""
        told = await self.told(name, **arguments)
        assert not told["success"], told
        return str(told["error"])


def text_of(result: CallToolResult) -> str:
    """The one text item of a result."""
    (item,) = result.content
    assert isinstance(item, TextContent)
    return item.text


@asynccontextmanager
async def over_http(up: Running, mode: str = "legacy") -> AsyncIterator[Tools]:
    """A client of the running server's own address; mode "legacy" is a client with a session."""
    async with Client(f"{up.urls['fabric']}/mcp", mode=mode) as client:
        yield Tools(client)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """A real server on free ports."""
    with server(folder / "home") as up:
        yield up

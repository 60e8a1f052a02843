"""WebSockets for the tests: a few handlers, clients of the library that people use, and handshakes by hand."""

from __future__ import annotations

import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.web.asking import Lines, app_of
from tests.web.wire import face, listening
from treadle.core.access import PUBLIC, Principal
from treadle.core.errors import Unauthenticated
from treadle.web.app import App
from treadle.web.call import Call
from treadle.web.listen import Address
from treadle.web.sockets import Socket, SocketRoute


class Look(Struct, forbid_unknown_fields=True):
    after: int = 0


async def mirror(socket: Socket) -> None:
    """Says who opened it, then sends everything back."""
    await socket.accept()
    await socket.send(f"{socket.principal.name} {socket.params} {socket.query}")
    while True:
        await socket.send(await socket.receive())


Handler = Callable[[Socket], Awaitable[None]]


def at(path: str, handler: Handler = mirror, scope: str = PUBLIC, **more: Any) -> SocketRoute:
    return SocketRoute(path=path, handler=handler, scope=scope, summary=path, **more)


async def by_token(call: Call) -> Principal:
    """`all` as a Bearer key, as X-API-Key or, at a socket, as `?token=` holds every scope, `some` only one."""
    token = (call.header("authorization") or "").removeprefix("Bearer ") or call.header("x-api-key") or call.token
    if token not in ("all", "some"):
        raise Unauthenticated
    return Principal(name=token, face="test", scopes=("*",) if token == "all" else ("thing:read",))


@asynccontextmanager
async def serving(app: App, grace: float = 5.0) -> AsyncIterator[Address]:
    async with listening(face(app), grace=grace) as listeners:
        yield listeners.addresses["test"]


def dial(address: Address, target: str, **more: Any) -> connect:
    return connect(
        f"ws://{address}{target}", **{"compression": None, "proxy": None, "close_timeout": 2, "max_size": None, **more}
    )


@asynccontextmanager
async def mirroring(
    handler: Handler = mirror, lines: Lines | None = None, **more: Any
) -> AsyncIterator[ClientConnection]:
    """A client at the handler's socket."""
    async with (
        serving(app_of([], lines, sockets=[at("/s", handler, **more)])) as address,
        dial(address, "/s") as client,
    ):
        yield client


async def closing(client: ClientConnection) -> tuple[int | None, str | None]:
    """Waits for the other side to close; its code and reason."""
    with suppress(ConnectionClosed):
        while True:
            await client.recv()
    return client.close_code, client.close_reason


ROUTES = [
    at("/open"),
    at("/api/things/{thingId}/tail", scope="thing:read", query=Look),
    at("/api/all", scope="thing:write"),
]


def handshake(target: str, host: str = "localhost", method: str = "GET", **headers: str) -> str:
    more = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())
    return (
        f"{method} {target} HTTP/1.1\nHost: {host}\nUpgrade: websocket\nConnection: Upgrade\n"
        f"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{more}\n"
    )


async def dialled(address: Address) -> sockets.socket:
    opened = sockets.create_connection((address.host, address.port))
    opened.setblocking(False)
    return opened

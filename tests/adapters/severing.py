"""A proxy between a store and its server, which can stop passing on and can hang up on the store alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Proxy:
    """Passes bytes between each client and a server on the loopback.

    `deaf` swallows what clients say from then on, and `swallowed` tells that there was something. `hang_up` closes the
    clients' connections and leaves the server's open, as when a network cable is pulled: the server notices nothing.
    """

    def __init__(self, server_port: int) -> None:
        self.deaf = False
        self.swallowed = asyncio.Event()
        self.port = 0
        self._server_port = server_port
        self._clients: list[asyncio.StreamWriter] = []
        self._kept: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in (*self._clients, *self._kept):
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        for writer in self._clients:
            writer.close()
        self._clients.clear()
        self.deaf = False

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        reader, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._clients.append(client)
        self._kept.append(server)
        for passing in (self._pass_on(client_reader, server, hears=True), self._pass_on(reader, client, hears=False)):
            task = asyncio.ensure_future(passing)
            self._tasks.add(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hears: bool) -> None:
        with suppress(OSError):
            while said := await reader.read(65536):
                if hears and self.deaf:
                    self.swallowed.set()
                    continue
                writer.write(said)
                await writer.drain()

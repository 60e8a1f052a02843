"""A proxy between a store and its server, which can stop passing on and can hang up on the store alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


class Proxy:
    """Passes bytes between each client and a server on the loopback.

    `deaf` swallows what clients say from then on, `mute` what the server answers, and `swallowed` tells that there was
    something. `hang_up` closes the clients' connections and leaves the server's open, as when somebody trips over the
    cable: the server notices nothing.
    """

    def __init__(self, server_port: int) -> None:
        self.deaf = self.mute = False
        self.swallowed = asyncio.Event()
        self.port = 0
        self._server_port = server_port
        self._clients: list[asyncio.StreamWriter] = []
        self._kept: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

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
        self.deaf = self.mute = False

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            reader, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            client.close()
            return
        self._clients.append(client)
        self._kept.append(server)
        for passing in (
            self._pass_on(client_reader, server, lambda: self.deaf),
            self._pass_on(reader, client, lambda: self.mute),
        ):
            self._tasks.add(asyncio.ensure_future(passing))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallow: Callable[[], bool]
    ) -> None:
        with suppress(OSError):
            while said := await reader.read(65536):
                if swallow():
                    self.swallowed.set()
                    continue
                writer.write(said)
                await writer.drain()
        if writer in self._clients:  # the server has hung up
            writer.close()

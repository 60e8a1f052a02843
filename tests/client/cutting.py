"""A relay between a client and a server that can cut connections: the network as it is on a bad day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Relay:
    """`url` leads to the server. The next `cut` answers are lost: the server acts, the client sees a cut connection."""

    def __init__(self, server: str) -> None:
        self._host, self._port = urlsplit(server).hostname, urlsplit(server).port
        self.cut = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(self._host, self._port)
        try:
            await asyncio.wait(
                (
                    asyncio.create_task(self._up(reader, inner_writer)),
                    asyncio.create_task(self._down(inner_reader, writer)),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            inner_writer.close()
            writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.cut:
                self.cut -= 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def relay(server: str) -> AsyncIterator[Relay]:
    """A relay while the block runs."""
    it = Relay(server)
    listening = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    it.url = f"http://{host}:{port}"
    try:
        yield it
    finally:
        listening.close()

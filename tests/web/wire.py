"""Speaking to a real listener: HTTP by hand over a socket, so that a test says exactly what goes over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.web.asking import Answer
from treadle.web.app import App
from treadle.web.listen import Address, Face, Listeners


@asynccontextmanager
async def listening(*faces: Face, grace: float = 5.0, listeners: Listeners | None = None) -> AsyncIterator[Listeners]:
    """Opens and serves the faces while the block runs, then stops them."""
    listeners = listeners or Listeners(faces, grace=grace)
    listeners.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(listeners.serve())
        await listeners.ready.wait()
        try:
            yield listeners
        finally:
            listeners.stop()


def face(app: App, name: str = "test", host: str = "127.0.0.1", port: int = 0) -> Face:
    return Face(name, app, Address(host, port))


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, text: str | bytes) -> None:
        """Writes the text as it is; in a str each line break is sent as CR LF."""
        self.writer.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
        await self.writer.drain()

    async def request(self, method: str, target: str, body: bytes | None = None, **headers: Any) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        await self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return await self.answer(head_only=method == "HEAD")

    async def head(self) -> Answer:
        """The status and headers of the next answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        return Answer(int(lines[0].split()[1]), headers, b"")

    async def answer(self, head_only: bool = False) -> Answer:
        """The next answer, whole."""
        found = await self.head()
        if head_only or found.status in (204, 304):
            return found
        if found.header("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                found.body += chunk
        else:
            found.body = await self.reader.readexactly(int(found.header("content-length") or 0))
        return found

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def closed(self) -> bytes:
        """Waits until the server closes the connection; what it still sent."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionResetError, BrokenPipeError):  # where the server was first
            await writer.wait_closed()

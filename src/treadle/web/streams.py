"""Answers that go on: byte chunks are sent until the source ends, the client leaves or the server stops."""

import asyncio
from collections.abc import AsyncIterator

from treadle.web.asgi import Receive, Send

BREATH = 16
"""After how many chunks a stream lets the others have their turn."""


class Streams:
    """The running streams of one application. The source is closed however its stream ends."""

    def __init__(self) -> None:
        self._pumps: set[asyncio.Task[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._pumps)

    def stop(self) -> None:
        """Ends all of them: event streams cleanly, so that clients come back with their cursor; the others are cut, so
        that a file that was not sent whole never looks whole."""
        self._stopped = True
        for pump in self._pumps:
            pump.cancel()

    async def run(self, chunks: AsyncIterator[bytes], endless: bool, receive: Receive, send: Send) -> None:
        """Sends the chunks. Returns when they have ended or the client has left; raises what the source raises."""
        pump, leaving = asyncio.create_task(_pump(chunks, send)), asyncio.create_task(_left(receive))
        self._pumps.add(pump)
        if self._stopped:
            pump.cancel()
        try:
            await asyncio.wait((pump, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pumps.discard(pump)
            left = leaving.done()
            pump.cancel()
            leaving.cancel()
            await asyncio.gather(pump, leaving, return_exceptions=True)
            await close(chunks)
        if not pump.cancelled():
            pump.result()
        elif endless and not left:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pump(chunks: AsyncIterator[bytes], send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head goes out now, data or not
    sent = 0
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        sent += 1
        if sent % BREATH == 0:
            # neither a source that is always ready nor a send to a client that has left gives way by itself: without
            # this an endless source would hold the event loop for ever, and nobody could tell it that its client left
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def close(chunks: AsyncIterator[bytes]) -> None:
    """Runs what the source does at its end, if it is a generator that has not ended by itself."""
    end = getattr(chunks, "aclose", None)
    if end is not None:
        await end()

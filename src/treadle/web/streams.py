"""Answers that go on: byte chunks are sent until the source ends, the client leaves or the server stops."""

import asyncio
from collections.abc import AsyncIterator

from treadle.web.asgi import Receive, Send

HEARTBEAT = b": \n\n"
"""A comment: it keeps proxies from closing a quiet stream and finds out whether the client is still there."""
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
        pump = _Pump(chunks, send)
        pumping, leaving = asyncio.create_task(pump.run()), asyncio.create_task(_left(receive))
        self._pumps.add(pumping)
        if self._stopped:
            pumping.cancel()
        try:
            await pump.watch(pumping, leaving)
        finally:
            self._pumps.discard(pumping)
            left = leaving.done()
            pumping.cancel()
            leaving.cancel()
            await asyncio.gather(pumping, leaving, return_exceptions=True)
            await close(chunks)
        if not pumping.cancelled():
            pumping.result()
        elif endless and not left:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Pump:
    """Moves the chunks of one stream; `send` waits while the client is slow to read, so nothing piles up."""

    __slots__ = ("_chunks", "_send", "_sent", "_waits")

    def __init__(self, chunks: AsyncIterator[bytes], send: Send) -> None:
        self._chunks, self._send = chunks, send
        self._sent = 0
        self._waits = False
        """Whether it is the source that is waited for, not the client."""

    async def run(self) -> None:
        await self._out(b"")  # the head goes out now, data or not
        self._waits = True
        async for chunk in self._chunks:
            self._waits = False
            await self._out(chunk)
            if self._sent % BREATH == 0:
                # neither a source that is always ready nor a send to a client that has left gives way by itself:
                # without this an endless source would hold the event loop for ever, and nobody could tell it that its
                # client left
                await asyncio.sleep(0)
            self._waits = True
        self._waits = False
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _out(self, chunk: bytes) -> None:
        self._sent += 1
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def watch(self, pumping: asyncio.Task[None], leaving: asyncio.Task[None]) -> None:
        """Returns when one of the two has ended; a stream with a heartbeat has one after each quiet while."""
        quiet: float | None = getattr(self._chunks, "heartbeat", None)
        beat: asyncio.Task[None] | None = None
        try:
            while True:
                sent = self._sent
                done, _ = await asyncio.wait((pumping, leaving), timeout=quiet, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    return
                if self._waits and self._sent == sent and (beat is None or beat.done()):
                    # a task of its own: a client that does not read must not keep us from seeing that it leaves
                    beat = asyncio.create_task(self._beat())
        finally:
            if beat is not None:
                beat.cancel()
                await asyncio.gather(beat, return_exceptions=True)

    async def _beat(self) -> None:
        await self._send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def close(chunks: AsyncIterator[bytes]) -> None:
    """Runs what the source does at its end, if it is a generator that has not ended by itself."""
    end = getattr(chunks, "aclose", None)
    if end is not None:
        await end()

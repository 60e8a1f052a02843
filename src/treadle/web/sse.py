"""Server-sent events as bytes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from treadle.web.call import Reply

EVENT_STREAM = b"text/event-stream"
HEARTBEAT = b": \n\n"
"""A comment: it keeps proxies from closing a quiet stream and finds out whether the client is still there."""
HEARTBEAT_SECONDS = 15.0
_BREAKS = str.maketrans("", "", "\r\n\0")


def event(data: str, *, id: str | None = None, name: str | None = None) -> bytes:
    """One event; its data may have several lines. Line breaks in `id` and `name` are dropped: they cannot be sent."""
    lines = []
    if id is not None:
        lines.append(f"id: {id.translate(_BREAKS)}")
    if name is not None:
        lines.append(f"event: {name.translate(_BREAKS)}")
    lines += (f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


def json_event(value: Any, *, id: str | None = None, name: str | None = None) -> bytes:
    """One event whose data is the value as JSON, on one line."""
    return event(msgspec.json.encode(value).decode(), id=id, name=name)


def event_reply(events: AsyncIterator[bytes], *, heartbeat: float = HEARTBEAT_SECONDS) -> Reply:
    """A stream of encoded events, with a heartbeat after that many quiet seconds."""
    return Reply(
        media_type=EVENT_STREAM,
        headers=((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")),
        stream=with_heartbeat(events, heartbeat),
    )


async def with_heartbeat(events: AsyncIterator[bytes], every: float) -> AsyncIterator[bytes]:
    """The events, and a comment whenever none came for `every` seconds. The source is closed with this stream."""
    coming: asyncio.Task[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(events))
            done, _ = await asyncio.wait((coming,), timeout=every)
            if not done:
                yield HEARTBEAT
                continue
            try:
                chunk = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield chunk
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        end = getattr(events, "aclose", None)
        if end is not None:
            await end()


async def _next(events: AsyncIterator[bytes]) -> bytes:
    return await anext(events)

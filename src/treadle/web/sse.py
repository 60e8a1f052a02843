"""Server-sent events as bytes."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import msgspec

from treadle.web.call import Reply
from treadle.web.streams import HEARTBEAT

__all__ = ["EVENT_STREAM", "HEARTBEAT", "HEARTBEAT_SECONDS", "EventStream", "event", "event_reply", "json_event"]

EVENT_STREAM = b"text/event-stream"
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


class EventStream:
    """Encoded events; while they are quiet a heartbeat is sent every so many seconds (`Streams` does that)."""

    __slots__ = ("_events", "heartbeat")

    def __init__(self, events: AsyncIterator[bytes], heartbeat: float) -> None:
        self._events, self.heartbeat = events, heartbeat

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._events.__anext__()

    async def aclose(self) -> None:
        """Closes the source, if it is a generator."""
        end = getattr(self._events, "aclose", None)
        if end is not None:
            await end()


def event_reply(events: AsyncIterator[bytes], *, heartbeat: float = HEARTBEAT_SECONDS) -> Reply:
    """A stream of encoded events, with a heartbeat after that many quiet seconds."""
    return Reply(
        media_type=EVENT_STREAM,
        headers=((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")),
        stream=EventStream(events, heartbeat),
    )

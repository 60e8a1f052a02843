"""Server-sent events, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from treadle.web.sse import HEARTBEAT, event, event_reply, json_event, with_heartbeat


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (event("hi"), b"data: hi\n\n"),
        (event(""), b"data: \n\n"),
        (event("a\nb"), b"data: a\ndata: b\n\n"),
        (event("a\r\nb\rc"), b"data: a\ndata: b\ndata: c\n\n"),
        (event("x", id="7", name="task.done"), b"id: 7\nevent: task.done\ndata: x\n\n"),
        (event("x", id="7\n\ndata: forged"), b"id: 7data: forged\ndata: x\n\n"),
        (json_event({"a": "b\nc"}, id="1"), b'id: 1\ndata: {"a":"b\\nc"}\n\n'),
        (event("é"), "data: é\n\n".encode()),
    ],
)
def test_events(made: bytes, text: bytes) -> None:
    assert made == text


async def test_a_quiet_stream_has_a_heartbeat_and_loses_nothing() -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        await go_on.wait()
        yield b"two"

    got: list[bytes] = []
    async for chunk in with_heartbeat(source(), 0.01):
        got.append(chunk)
        if got.count(HEARTBEAT) == 2:
            go_on.set()
    assert got[0] == b"one"
    assert got[-1] == b"two"
    assert set(got[1:-1]) == {HEARTBEAT}


async def test_closing_the_stream_closes_the_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.set()

    reply = event_reply(source(), heartbeat=0.01)
    assert reply.media_type == b"text/event-stream"
    assert reply.stream is not None
    got = [await anext(reply.stream) for _ in range(2)]
    assert got == [b"one", HEARTBEAT]
    await reply.stream.aclose()  # type: ignore[attr-defined]
    assert closed.is_set()


async def test_a_failing_source_is_heard() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("gone")

    stream = with_heartbeat(source(), 1)
    assert await anext(stream) == b"one"
    with pytest.raises(OSError, match="gone"):
        await anext(stream)

"""Server-sent events, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from treadle.web.asgi import Message
from treadle.web.sse import HEARTBEAT, event, event_reply, json_event
from treadle.web.streams import Streams


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


class Reader:
    """What an application's stream is sent to. `leave` is the client's disconnect; `stuck`, it reads nothing."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.beats = asyncio.Event()
        self.leave = asyncio.Event()
        self.stuck = False

    async def receive(self) -> Message:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.got.append(message["body"])
        if self.got.count(HEARTBEAT) == 2:
            self.beats.set()


async def stream(reader: Reader, source: AsyncIterator[bytes], heartbeat: float) -> None:
    reply = event_reply(source, heartbeat=heartbeat)
    assert reply.media_type == b"text/event-stream"
    assert {(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")} <= set(reply.headers)
    assert reply.stream is not None
    await Streams().run(reply.stream, True, reader.receive, reader.send)


async def test_a_quiet_stream_has_a_heartbeat_and_loses_nothing() -> None:
    reader = Reader()

    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        await reader.beats.wait()
        yield b"two"

    await stream(reader, source(), 0.01)
    assert reader.got[:2] == [b"", b"one"]
    assert reader.got[-2:] == [b"two", b""]
    assert set(reader.got[2:-2]) == {HEARTBEAT}


async def test_a_busy_stream_has_no_heartbeat() -> None:
    reader = Reader()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x"
            await asyncio.sleep(0.002)

    await stream(reader, source(), 0.05)
    assert reader.got == [b"", *[b"x"] * 50, b""]


@pytest.mark.parametrize("stuck", [False, True])
async def test_a_client_that_leaves_ends_the_source(stuck: bool) -> None:
    """Also when a heartbeat hangs because it does not read."""
    reader, closed = Reader(), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            reader.stuck = stuck
            await asyncio.Event().wait()
        finally:
            closed.set()

    running = asyncio.create_task(stream(reader, source(), 0.01))
    await (asyncio.sleep(0.05) if stuck else reader.beats.wait())
    reader.leave.set()
    await running
    assert closed.is_set()


async def test_a_failing_source_is_heard() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("gone")

    reader = Reader()
    with pytest.raises(OSError, match="gone"):
        await stream(reader, source(), 1)
    assert reader.got == [b"", b"one"]

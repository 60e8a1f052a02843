"""The wire: what uvicorn and our part of it do with real bytes, slow clients and large heads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.web.asking import Lines, app_of, echo, route, things
from tests.web.wire import Wire, connected, face, listening
from treadle.web import server
from treadle.web.call import Call, Reply, json_reply
from treadle.web.sse import event, event_reply


async def test_many_requests_on_one_connection_and_every_method() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        key: dict[str, Any] = {"Authorization": "Bearer all"}
        answers = [
            await wire.request("GET", "/health"),
            await wire.request("POST", "/api/things", b'{"name":"a"}', **key),
            await wire.request("POST", "/api/things", b"{", **key),
            await wire.request("HEAD", "/api/things/1", **key),
            await wire.request("DELETE", "/api/things/a%2Fb", **key),
            await wire.request("OPTIONS", "/health"),
            await wire.request("GET", "/openapi.json"),
        ]
        assert [answer.status for answer in answers] == [200, 200, 400, 200, 200, 204, 200]
        assert answers[4].json()["params"] == {"thingId": "a/b"}
        assert answers[5].header("content-length") is None
        assert all(answer.header("date") and answer.header("x-correlation-id") for answer in answers)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("".join(f"GET /health HTTP/1.1\nHost: localhost\nX-Correlation-ID: {n}\n\n" for n in range(20)))
        assert [(await wire.answer()).header("x-correlation-id") for _ in range(20)] == [str(n) for n in range(20)]


async def test_a_client_that_closes_is_answered_and_closed() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        answer = await wire.request("GET", "/health", Connection="close")
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await wire.closed() == b""
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("GET /health HTTP/1.0\nHost: localhost\n\n")
        assert (await wire.answer()).status == 200
        assert await wire.closed() == b""


async def test_a_chunked_body_in_pieces() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("POST /api/login HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n")
        for piece in (b'{"na', b'me":"a', b'"}'):
            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\n")
        assert (await wire.answer()).json()["body"] == {"name": "a"}


async def test_a_body_too_large_is_refused_before_it_is_sent_and_the_connection_lives() -> None:
    app = app_of(things(), body_limit=1000)
    async with listening(face(app)) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("POST /api/login HTTP/1.1\nHost: localhost\nContent-Length: 200000\n\n")
        assert (await wire.answer()).status == 413
        await wire.send(b"x" * 200_000)
        assert (await wire.request("GET", "/health")).status == 200


async def test_expect_continue() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("POST /api/login HTTP/1.1\nHost: localhost\nExpect: 100-continue\nContent-Length: 12\n\n")
        assert (await wire.head()).status == 100
        await wire.send(b'{"name":"a"}')
        assert (await wire.answer()).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "NONSENSE\n\n",
        "GET / HTTP/1.1\nHost : localhost\n\n",
        "GET /\x01 HTTP/1.1\nHost: localhost\n\n",
        "POST /api/login HTTP/1.1\nHost: localhost\nContent-Length: 1\nContent-Length: 2\n\n",
        "POST /api/login HTTP/1.1\nHost: localhost\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n",
        "GET http://[ HTTP/1.1\nHost: localhost\n\n",
    ],
)
@pytest.mark.filterwarnings("default")
async def test_what_is_no_http_is_refused(text: str) -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send(text)
        assert (await wire.closed()).startswith(b"HTTP/1.1 400 ")


FIELDS = "\n".join(f"X{number}: 1" for number in range(60_000))


@pytest.mark.parametrize(
    "text",
    [
        "GET /health HTTP/1.1\nHost: localhost\nX: " + "a" * 600_000,
        "GET /health HTTP/1.1\nHost: localhost\n" + FIELDS,
        "POST /api/login HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n" + FIELDS,
    ],
    ids=["one field", "many fields", "trailer"],
)
async def test_an_endless_head_is_cut(text: str) -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        with suppress(ConnectionError):  # it may be cut while we are still writing
            await wire.send(text)
        answer = await wire.closed()
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")


async def test_a_long_head_is_fine_and_so_is_the_next_one() -> None:
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        for _ in range(5):
            assert (await wire.request("GET", "/health", X_Long="a" * 30_000)).status == 200
        for _ in range(3):
            assert (await wire.request("POST", "/api/login", b'{"name":"a"' + b" " * 200_000 + b"}")).status == 200


async def silent(_: Wire) -> None:
    """Connects and says nothing."""


async def half_a_head(wire: Wire) -> None:
    await wire.send("GET /health HTTP/1.1\nHost: local")


async def half_a_second_head(wire: Wire) -> None:
    assert (await wire.request("GET", "/health")).status == 200
    await wire.send("GET /hea")


async def half_a_body(wire: Wire) -> None:
    await wire.send('POST /api/login HTTP/1.1\nHost: localhost\nContent-Length: 100\n\n{"name"')


@pytest.mark.parametrize("stall", [silent, half_a_head, half_a_second_head, half_a_body])
async def test_a_stalled_client_is_cut(stall: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are made short; what is tested is that each kind of stall is seen, and an honest client is not cut."""
    for name, seconds in (("HEAD_SECONDS", 0.2), ("BODY_SECONDS", 0.2), ("SWEEP", 0.0), ("TICK", 0.05)):
        monkeypatch.setattr(server, name, seconds)
    lines = Lines()
    async with listening(face(app_of(things(), lines))) as listeners:
        address = listeners.addresses["test"]
        async with connected(address) as honest, connected(address) as wire:
            assert (await honest.request("GET", "/health")).status == 200
            await stall(wire)
            assert await wire.closed() == b""
            assert (await honest.request("GET", "/health")).status == 200
    if stall is half_a_body:
        assert [row["status"] for row in lines.rows() if row["path"] == "/api/login"] in ([], [499])


async def test_a_client_that_reads_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("WRITE_SECONDS", 0.2), ("SWEEP", 0.0), ("TICK", 0.05)):
        monkeypatch.setattr(server, name, seconds)
    closed = asyncio.Event()

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    async def stream(_: Call) -> Reply:
        return Reply(stream=flood(), media_type=b"application/octet-stream")

    app = app_of([route("GET", "/flood", stream), route("GET", "/health")])
    async with listening(face(app)) as listeners:
        address = listeners.addresses["test"]
        async with connected(address) as stuck, connected(address) as other:
            await stuck.send("GET /flood HTTP/1.1\nHost: localhost\n\n")
            assert (await other.request("GET", "/health")).status == 200  # a stuck reader costs others nothing
            await closed.wait()


async def test_a_stream_flows_and_ends_with_its_client() -> None:
    closed = asyncio.Event()
    more = asyncio.Queue[bytes]()

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield await more.get()
        finally:
            closed.set()

    async def stream(_: Call) -> Reply:
        return event_reply(source())

    app = app_of([route("GET", "/stream", stream)])
    async with listening(face(app)) as listeners:
        async with connected(listeners.addresses["test"]) as wire:
            await wire.send("GET /stream HTTP/1.1\nHost: localhost\n\n")
            head = await wire.head()  # before any event
            assert (head.status, head.header("content-type")) == (200, "text/event-stream")
            for number in range(3):
                more.put_nowait(event("tick", id=str(number)))
                assert await wire.chunk() == b"id: %d\ndata: tick\n\n" % number
        await closed.wait()
        assert len(app.streams) == 0


async def test_a_stream_is_ended_cleanly_when_the_server_stops() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield event("first")
        await asyncio.Event().wait()

    async def stream(_: Call) -> Reply:
        return event_reply(source())

    app = app_of([route("GET", "/stream", stream)])
    async with listening(face(app)) as listeners, connected(listeners.addresses["test"]) as wire:
        await wire.send("GET /stream HTTP/1.1\nHost: localhost\n\n")
        await wire.head()
        assert await wire.chunk() == b"data: first\n\n"
        listeners.stop()
        assert await wire.chunk() == b""


async def test_a_large_answer_to_a_slow_reader_is_whole() -> None:
    body = bytes(range(256)) * 40_000

    async def large(_: Call) -> Reply:
        return Reply(body=body, media_type=b"application/octet-stream")

    app = app_of([route("GET", "/large", large)])
    async with listening(face(app)) as listeners, connected(listeners.addresses["test"]) as wire:
        for _ in range(2):
            assert (await wire.request("GET", "/large")).body == body


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x=1", b"a\nb", b"a\0b"])
async def test_a_header_that_would_split_the_answer_never_goes_out(value: bytes) -> None:
    async def careless(_: Call) -> Reply:
        return json_reply("x", headers=((b"x-name", value),))

    app = app_of([route("GET", "/x", careless)])
    async with listening(face(app)) as listeners, connected(listeners.addresses["test"]) as wire:
        answer = await wire.request("GET", "/x")
        assert answer.status == 500
        assert "set-cookie" not in answer.headers


async def test_a_websocket_that_nobody_declared_is_refused() -> None:
    upgrade: dict[str, Any] = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    app = app_of([route("GET", "/socket", echo)])
    async with listening(face(app)) as listeners, connected(listeners.addresses["test"]) as wire:
        answer = await wire.request("GET", "/socket", **upgrade, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")
        assert (answer.status, answer.json()["success"]) == (404, False)


async def test_a_proxys_headers_are_not_believed() -> None:
    """Anybody on this machine could send them, to escape the rate limit or to pass for HTTPS."""
    async with listening(face(app_of(things()))) as listeners, connected(listeners.addresses["test"]) as wire:
        answer = await wire.request("GET", "/health", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https")
        assert answer.json()["client"] == "127.0.0.1"
        assert answer.header("strict-transport-security") is None

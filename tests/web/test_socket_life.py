"""Open WebSockets over a wire: what goes through, how they end, what they cost."""

from __future__ import annotations

import asyncio
import gc
import socket as sockets
from contextlib import suppress
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.web.asking import Lines, app_of, echo, route
from tests.web.dialling import (
    ROUTES,
    at,
    closing,
    dial,
    dialled,
    handshake,
    mirroring,
    serving,
)
from tests.web.wire import connected, face, listening
from treadle.core.access import Principal
from treadle.core.errors import Conflict, StoreUnavailable, Unauthenticated
from treadle.web import server, socket_connection, socket_door
from treadle.web.call import Call
from treadle.web.sockets import Socket


@pytest.mark.parametrize(
    ("error", "code", "reason", "logged"),
    [
        (ValueError("its own business"), 1011, "Internal error", True),
        (Conflict("the queue is closed"), 1008, "the queue is closed", False),
        (StoreUnavailable("é" * 100), 1013, "é" * 61, True),
    ],
)
async def test_a_handler_that_raises_closes(error: Exception, code: int, reason: str, logged: bool) -> None:
    async def fails(socket: Socket) -> None:
        await socket.accept()
        await socket.receive()
        raise error

    lines = Lines()
    async with mirroring(fails, lines) as client:
        await client.send("go")
        assert await closing(client) == (code, reason)
    assert (str(error).encode() in lines.text) == logged or "é" in str(error)


@pytest.mark.parametrize(("error", "status"), [(ValueError("x"), 500), (Conflict("x"), 409), (None, 500)])
async def test_a_handler_that_does_not_accept_answers(error: Exception | None, status: int) -> None:
    async def refuses(_: Socket) -> None:
        if error is not None:
            raise error

    async def closes(socket: Socket) -> None:
        await socket.close(1008, "not today")

    async with serving(app_of([], sockets=[at("/s", refuses), at("/c", closes)])) as address:
        with pytest.raises(InvalidStatus) as refused:
            await dial(address, "/s")
        assert refused.value.response.status_code == status
        with pytest.raises(InvalidStatus) as refused:
            await dial(address, "/c")
        assert refused.value.response.status_code == 403
        assert b"not today" in (refused.value.response.body or b"")


async def test_a_handler_s_end_is_an_ordinary_close() -> None:
    async def short(socket: Socket) -> None:
        await socket.accept()
        await socket.send("bye")

    async def chosen(socket: Socket) -> None:
        await socket.accept()
        await socket.close(4001, "enough")
        await socket.close(4002)
        await socket.send("never")

    async with mirroring(short) as client:
        assert await client.recv() == "bye"
        assert await closing(client) == (1000, "")
    async with mirroring(chosen) as client:
        assert await closing(client) == (4001, "enough")


async def test_a_message_too_large_closes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_connection, "LINGER_SECONDS", 0.3)
    limit = 2 * 1024 * 1024
    async with mirroring(message_limit=limit) as client:
        await client.recv()
        await client.send(b"x" * limit)
        answer = client.recv()
        assert len(await answer) == limit
    async with mirroring(message_limit=1000) as client:
        await client.recv()
        await client.send(["x" * 500, "y" * 500])  # in fragments
        assert len(await client.recv()) == 1000
        await client.send(b"x" * 5_000_000)
        assert (await closing(client))[0] == 1009
    async with mirroring() as client:
        await client.recv()
        with suppress(ConnectionClosed):
            await client.send([b"x" * 600_000, b"y" * 600_000])
        assert (await closing(client))[0] == 1009


async def test_text_that_is_none_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_connection, "LINGER_SECONDS", 0.1)
    async with serving(app_of([], sockets=ROUTES)) as address, connected(address) as wire:
        await wire.send(handshake("/open"))
        assert (await wire.head()).status == 101
        await wire.send(b"\x81\x82\x00\x00\x00\x00\xff\xfe")  # a text frame of two bytes that are no UTF-8
        assert b"\x03\xef" in await wire.closed()  # 1007


async def test_many_messages_in_order() -> None:
    async with mirroring() as client:
        await client.recv()

        async def fill() -> None:
            for n in range(5000):
                await client.send(str(n))

        async with asyncio.TaskGroup() as group:
            group.create_task(fill())
            assert [int(await client.recv()) for _ in range(5000)] == list(range(5000))


async def test_what_a_client_said_before_it_left_is_heard_to_the_end() -> None:
    heard: list[str | bytes] = []
    go_on, over = asyncio.Event(), asyncio.Event()

    async def listens(socket: Socket) -> None:
        await socket.accept()
        try:
            await go_on.wait()
            while True:
                heard.append(await socket.receive())
        finally:
            over.set()

    async with mirroring(listens) as client:
        for n in range(100):
            await client.send(str(n))
        closing_ = asyncio.create_task(client.close())
        go_on.set()
        await closing_
        await over.wait()
    assert heard == [str(n) for n in range(100)]


@pytest.mark.parametrize("polite", [True, False])
async def test_a_handler_that_only_sends_hears_that_its_client_left(polite: bool) -> None:
    """Also when the client had said something that nobody listens to."""
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def ticks(socket: Socket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send("tick")
                await asyncio.sleep(0.005)
        finally:
            ended.put_nowait("ticks")

    async def waits(socket: Socket) -> None:
        await socket.accept()
        try:
            await socket.unless_gone(asyncio.Event().wait())
        finally:
            ended.put_nowait("waits")

    async with serving(app_of([], sockets=[at("/ticks", ticks), at("/waits", waits)])) as address:
        for path in ("/ticks", "/waits"):
            async with dial(address, path) as client:
                for _ in range(5):
                    await client.send("hello?")
                if polite:
                    await client.close()
                else:
                    client.transport.abort()
                assert await asyncio.wait_for(ended.get(), 5) == path[1:]


async def test_a_handler_that_does_not_look_is_ended_after_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_door, "GONE_SECONDS", 0.05)
    ended = asyncio.Event()

    async def looks_away(socket: Socket) -> None:
        await socket.accept()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    app = app_of([], sockets=[at("/s", looks_away)])
    async with serving(app) as address:
        async with dial(address, "/s"):
            pass
        await ended.wait()
    assert len(app.door) == 0


async def test_a_slow_reader_holds_up_its_sender_alone() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def pours(socket: Socket) -> None:
        nonlocal sent
        await socket.accept()
        while True:
            try:
                await asyncio.wait_for(socket.send(b"x" * 65536), 0.5)
            except TimeoutError:
                stuck.set()
                return
            sent += 65536

    async with serving(app_of([], sockets=[at("/pours", pours), *ROUTES])) as address, connected(address) as wire:
        await wire.send(handshake("/pours"))
        async with dial(address, "/open") as other:
            await other.recv()
            await other.send("still there?")
            assert await other.recv() == "still there?"
        await stuck.wait()
    assert sent < 20_000_000


async def test_a_client_that_talks_more_than_is_listened_to_waits() -> None:
    go_on = asyncio.Event()

    async def later(socket: Socket) -> None:
        await socket.accept()
        await go_on.wait()
        for _ in range(400):
            await socket.receive()

    async with mirroring(later) as client:

        async def talk() -> None:
            for _ in range(400):
                await client.send(b"x" * 100_000)

        talking = asyncio.create_task(talk())
        done, _ = await asyncio.wait((talking,), timeout=0.5)
        assert not done
        go_on.set()
        await talking
        assert (await closing(client))[0] == 1000


async def test_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers stays, also with an unread message before its pong; whoever is silent is cut."""
    monkeypatch.setattr(server, "PING_SECONDS", 0.1)
    monkeypatch.setattr(server, "PONG_SECONDS", 0.2)
    left: asyncio.Queue[str] = asyncio.Queue()

    async def waits(socket: Socket) -> None:
        await socket.accept()
        try:
            await socket.unless_gone(asyncio.Event().wait())
        finally:
            left.put_nowait(socket.path)

    app = app_of([], sockets=[at("/a", waits), at("/b", waits)])
    async with serving(app) as address, dial(address, "/a") as good, connected(address) as silent:
        await silent.send(handshake("/b"))
        await silent.head()
        await good.send("unread")
        assert await left.get() == "/b"
        for _ in range(3):
            await (await good.ping())
            await asyncio.sleep(0.2)
        assert left.empty()
        assert good.state.name == "OPEN"


async def test_a_handler_can_ask_whether_its_client_lives() -> None:
    answers: asyncio.Queue[bool] = asyncio.Queue()

    async def asks(socket: Socket) -> None:
        await socket.accept()
        answers.put_nowait(await socket.alive(0.2))
        answers.put_nowait(await socket.alive(0.2))

    async with serving(app_of([], sockets=[at("/s", asks)])) as address:
        async with dial(address, "/s"):
            assert [await answers.get(), await answers.get()] == [True, True]
        async with connected(address) as silent:
            await silent.send(handshake("/s"))
            await silent.head()
            assert [await answers.get(), await answers.get()] == [False, False]


async def test_a_stop_closes_with_1001_and_ends_the_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_door, "STOP_SECONDS", 0.1)
    ended: list[str] = []
    accepted = asyncio.Barrier(4)

    async def listens(socket: Socket) -> None:
        await socket.accept()
        await accepted.wait()
        try:
            await (socket.receive() if socket.path == "/listens" else asyncio.Event().wait())
        finally:
            ended.append(socket.path)

    async def stuck_before(_: Call) -> Principal:
        await accepted.wait()
        await asyncio.Event().wait()
        raise Unauthenticated

    lines = Lines()
    routes = [at("/listens", listens), at("/looks-away", listens), at("/api/late", scope="x")]
    app = app_of([], lines, sockets=routes, authenticate=stuck_before)
    async with listening(face(app), grace=0.5) as listeners:
        address = listeners.addresses["test"]
        async with dial(address, "/listens") as one, dial(address, "/looks-away") as other:
            late = asyncio.create_task(dial(address, "/api/late").__aenter__())
            await accepted.wait()
            started = asyncio.get_running_loop().time()
            listeners.stop()
            assert (await closing(one))[0] == 1001
            assert (await closing(other))[0] == 1001
            with pytest.raises(InvalidStatus) as refused:
                await late
            assert refused.value.response.status_code == 503
    assert asyncio.get_running_loop().time() - started < 2
    assert sorted(ended) == ["/listens", "/looks-away"]
    assert b"Traceback" not in lines.text


async def test_who_pings_without_reading_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    begin = socket_connection.SocketConnection.connection_made

    def remember(self: Any, transport: Any) -> None:
        made.append(self)
        begin(self, transport)

    monkeypatch.setattr(socket_connection.SocketConnection, "connection_made", remember)
    async with serving(app_of([], sockets=ROUTES)) as address, connected(address) as wire:
        await wire.send(handshake("/open"))
        await wire.head()
        ping = b"\x89\xfd" + bytes(4) + b"p" * 125
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await wire.send(ping * 1000)
        # what is read in one go is answered in one go, and no more is read
        assert made[0].transport.get_write_buffer_size() < 1_500_000
        wire.writer.transport.abort()


async def test_sockets_cost_the_other_requests_nothing_to_find() -> None:
    app = app_of([route("GET", "/s", echo)], sockets=[at("/s")])
    async with serving(app) as address, connected(address) as wire:
        assert (await wire.request("GET", "/s")).status == 200
        async with dial(address, "/s") as client:
            assert await client.recv()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_what_an_idle_socket_costs() -> None:
    """The clients are plain sockets, so that what is measured is the server's side."""
    count = 1000
    app = app_of([], Lines(), sockets=[at("/s")])
    async with serving(app) as address:
        async with dial(address, "/s") as warm:
            await warm.recv()
        gc.collect()
        before = psutil.Process().memory_info().rss
        request = handshake("/s").replace("\n", "\r\n").encode()
        loop = asyncio.get_running_loop()
        clients: list[sockets.socket] = []
        try:
            for _ in range(count):
                client = await dialled(address)
                clients.append(client)
                await loop.sock_sendall(client, request)
                await loop.sock_recv(client, 4096)
            gc.collect()
            each = (psutil.Process().memory_info().rss - before) / count
            assert len(app.door) == count
        finally:
            for client in clients:
                client.close()
        while len(app.door):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    print(f"\n{each / 1000:.1f} kB for each idle socket")  # noqa: T201
    assert each < 60_000

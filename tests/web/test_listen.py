"""Sockets: free ports, taken ports, shared ones, and how serving stops."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest

from tests.web.asking import app_of, echo, route, things
from tests.web.wire import connected, face, listening
from treadle.web.call import Call, Reply, json_reply
from treadle.web.listen import Address, CannotListen, Face, Listeners, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3000", Address("127.0.0.1", 3000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:3000", Address("::1", 3000)),
        ("off", None),
    ],
)
def test_addresses(text: str, address: Address | None) -> None:
    assert parse_address(text) == address
    if address is not None:
        assert str(address) == text
        assert address.url == f"http://{text}"
        assert address.loopback


@pytest.mark.parametrize(
    "text", ["", "3000", ":3000", "host:", "host:x", "host:65536", "::1:3000", "[x]:1", "host:-1", "h:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_only_loopback_is_loopback() -> None:
    hosts = ["127.1.2.3", "localhost", "::1", "0.0.0.0", "::", "192.168.0.1", "loom.example"]
    assert [Address(host, 1).loopback for host in hosts] == [True, True, True, False, False, False, False]


async def test_a_free_port_is_taken_and_told() -> None:
    async with listening(face(app_of(things())), face(app_of(things()), "other")) as listeners:
        first, second = listeners.addresses["test"], listeners.addresses["other"]
        assert first.port != 0 != second.port != first.port  # port 0 is never shared
        assert listeners.urls == {"test": f"http://127.0.0.1:{first.port}", "other": f"http://127.0.0.1:{second.port}"}
        async with connected(first) as wire:
            answer = await wire.request("GET", "/health")
            assert answer.status == 200
            assert answer.header("date")
            assert answer.header("server") is None


async def test_a_taken_port_is_one_clear_line_and_nothing_stays_open() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        free = face(app_of(things()), "ufo")
        listeners = Listeners([free, face(app_of(things()), "taskdriver", port=port)])
        with pytest.raises(CannotListen) as caught:
            listeners.open()
        assert caught.value.message == (
            f"taskdriver cannot listen on 127.0.0.1:{port}: something else listens there already; "
            "choose another address with --listen taskdriver=HOST:PORT (port 0 takes a free one)"
        )
        assert listeners.addresses == {}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "198.51.100.7"])
async def test_an_address_that_cannot_be_had_is_said(host: str) -> None:
    with pytest.raises(CannotListen, match=r"ufo cannot listen on .*--listen ufo=HOST:PORT"):
        Listeners([face(app_of(things()), "ufo", host)]).open()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_faces_given_the_same_address_share_one_socket() -> None:
    async def healthy(_: Call) -> Reply:
        return json_reply({"status": "ok"})

    port = free_port()
    health = route("GET", "/api/health", healthy)
    faces = [
        face(app_of([route("GET", "/a", echo), health], name="ufo"), "ufo", "localhost", port),
        face(app_of([route("GET", "/b", echo), health], name="console"), "console", "127.0.0.1", port),
    ]
    shared = Listeners(faces)
    async with listening(listeners=shared) as listeners, connected(listeners.addresses["console"]) as wire:
        assert listeners.urls["ufo"] == listeners.urls["console"]
        statuses = [(await wire.request("GET", path)).status for path in ("/a", "/b", "/api/health", "/docs", "/c")]
        assert statuses == [200, 200, 200, 200, 404]
        paths = (await wire.request("GET", "/openapi.json")).json()["paths"]
        assert set(paths) == {"/a", "/b", "/api/health"}
        assert (await wire.request("GET", "/c")).json()["code"] == "not_found"


def test_faces_that_cannot_be_told_apart_cannot_share() -> None:
    port = free_port()
    pages = [route("GET", "/", echo), route("POST", "/x/{id}", echo)]
    listeners = Listeners([face(app_of(pages), "ufo", port=port), face(app_of(pages), "console", port=port)])
    with pytest.raises(CannotListen) as caught:
        listeners.open()
    assert caught.value.message == (
        f"ufo and console share 127.0.0.1:{port}, and both have GET /, POST /x/{{}}; "
        "give one of them another address with --listen console=HOST:PORT"
    )
    assert listeners.addresses == {}
    Listeners([face(app_of(pages), "ufo"), face(app_of(pages), "console")]).close()


def test_a_face_says_how_it_is_spoken_to() -> None:
    address = Address("127.0.0.1", 8090)
    app = app_of([])
    assert Face("a", app, address).url(address) == "http://127.0.0.1:8090"
    assert Face("a", app, address, ("c", "k")).url(address) == "https://127.0.0.1:8090"
    assert Face("a", app, address, ("c", "k"), "wss", "/ws").url(address) == "wss://127.0.0.1:8090/ws"


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with listening(face(app_of(things()), host="::1")) as listeners:
        address = listeners.addresses["test"]
        assert str(address) == f"[::1]:{address.port}"
        async with connected(address) as wire:
            await wire.send("GET /health HTTP/1.1\nHost: [::1]:3000\n\n")
            assert (await wire.answer()).json()["client"] == "::1"


async def test_connections_wait_while_the_rest_starts() -> None:
    listeners = Listeners([face(app_of(things()))])
    listeners.open()
    async with connected(listeners.addresses["test"]) as wire:
        await wire.send("GET /health HTTP/1.1\nHost: localhost\n\n")
        async with listening(listeners=listeners):
            assert (await wire.answer()).status == 200


async def test_a_running_request_ends_before_the_server_does() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Call) -> Reply:
        started.set()
        await go_on.wait()
        return json_reply("done")

    listeners = Listeners([face(app_of([route("GET", "/slow", slow)]))])
    listeners.open()
    address = listeners.addresses["test"]
    async with connected(address) as wire, connected(address) as idle, asyncio.TaskGroup() as group:
        serving = group.create_task(listeners.serve())
        await listeners.ready.wait()
        await wire.send("GET /slow HTTP/1.1\nHost: localhost\n\n")
        await started.wait()
        listeners.stop()
        listeners.stop()
        assert await idle.closed() == b""
        assert not serving.done()
        go_on.set()
        answer = await wire.answer()
        assert (answer.status, answer.json(), answer.header("connection")) == (200, "done", "close")
        assert await wire.closed() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address.host, address.port)


async def test_a_request_that_does_not_end_is_told_so_when_the_grace_is_over() -> None:
    started = asyncio.Event()

    async def stuck(_: Call) -> Reply:
        started.set()
        await asyncio.Event().wait()
        return Reply()

    app = app_of([route("GET", "/stuck", stuck)])
    listeners = Listeners([face(app)], grace=0.05)
    listeners.open()
    async with connected(listeners.addresses["test"]) as wire, asyncio.TaskGroup() as group:
        group.create_task(listeners.serve())
        await listeners.ready.wait()
        await wire.send("GET /stuck HTTP/1.1\nHost: localhost\n\n")
        await started.wait()
        listeners.stop()
        answer = await wire.answer()
        assert (answer.status, answer.header("retry-after")) == (503, "1")


async def test_cancelling_gives_the_port_back_and_cuts_the_clients() -> None:
    listeners = Listeners([face(app_of(things()))])
    listeners.open()
    address = listeners.addresses["test"]
    serving = asyncio.create_task(listeners.serve())
    await listeners.ready.wait()
    async with connected(address) as wire:
        assert (await wire.request("GET", "/health")).status == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert await wire.closed() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address.host, address.port)


async def test_stopping_before_serving_gives_the_port_back() -> None:
    listeners = Listeners([face(app_of(things()))])
    listeners.open()
    address = listeners.addresses["test"]
    listeners.stop()
    await listeners.serve()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address.host, address.port)


async def test_signals_are_left_to_the_caller() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with listening(face(app_of(things()))):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_no_face_is_nothing_to_do() -> None:
    async with listening() as listeners:
        assert listeners.urls == {}


def test_a_face_off_is_simply_not_given() -> None:
    assert parse_address("off") is None
    assert Face("ufo", app_of(things()), Address("127.0.0.1", 5000)).address.port == 5000

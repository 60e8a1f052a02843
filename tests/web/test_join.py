"""Two faces on one socket: who answers what."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec import Struct
from websockets.exceptions import InvalidStatus

from tests.web.asking import app_of, ask, echo, route
from tests.web.dialling import at, dial
from tests.web.wire import connected, listening
from treadle.web.call import Call, Reply, json_reply
from treadle.web.join import Joined, clashes
from treadle.web.listen import Address, Face
from treadle.web.routes import Route
from treadle.web.sockets import SocketRoute


def named(name: str, paths: list[str]) -> list[Route]:
    async def answer(_: Call) -> Reply:
        return json_reply(name)

    return [route("GET", path, answer) for path in paths]


async def test_the_first_that_knows_an_address_answers() -> None:
    first = app_of(named("first", ["/a", "/x/{id}"]), name="first")
    second = app_of([*named("second", ["/b", "/x/literal"]), route("POST", "/a", echo)], name="second")
    joined = Joined([first, second])
    answers = {path: (await ask(joined, "GET", path)).json() for path in ("/a", "/b", "/x/literal")}
    assert answers == {"/a": "first", "/b": "second", "/x/literal": "first"}
    assert (await ask(joined, "HEAD", "/a")).status == 200
    assert (await ask(joined, "POST", "/a")).json()["route"] == "/a"  # the address is the first's, the method is not
    assert (await ask(joined, "DELETE", "/b")).header("allow") == "GET, HEAD, OPTIONS"


class First(Struct):
    status: str
    online_clients: list[str]


class Second(Struct):
    status: Literal["ok"]
    server_time: int
    version: str = ""


def health(answer: Any, status: int = 200) -> Route:
    async def show(_: Call) -> Reply:
        return json_reply(answer, status)

    return route("GET", "/api/health", show, reply=type(answer))


async def test_the_health_of_a_shared_socket_is_that_of_all() -> None:
    joined = Joined([app_of([health(First("fine", ["a"]))]), app_of([health(Second("ok", 7))]), app_of([])])
    answer = await ask(joined, "GET", "/api/health")
    assert (answer.status, answer.json()) == (
        200,
        {"status": "healthy", "online_clients": ["a"], "server_time": 7, "version": ""},
    )
    shown = (await ask(joined, "GET", "/openapi.json")).json()["components"]["schemas"]["Health"]
    assert set(shown["properties"]) == {"status", "online_clients", "server_time", "version"}
    assert shown["properties"]["status"] == {"type": "string"}
    ill = Joined([app_of([health(First("fine", []))]), app_of([health(Second("ok", 7), 503)])])
    answer = await ask(ill, "GET", "/api/health")
    assert (answer.status, answer.json()["status"]) == (503, "ok")
    alone = Joined([app_of([health(First("fine", []))]), app_of([])])
    assert (await ask(alone, "GET", "/api/health")).json()["status"] == "fine"


def test_what_two_faces_both_declare_is_found() -> None:
    socket = SocketRoute(path="/ws", handler=None, scope="x", summary="")  # type: ignore[arg-type]
    first = app_of([route("GET", "/"), route("GET", "/x/{id}"), health(Second("ok", 1))], sockets=[socket])
    second = app_of([route("GET", "/x/{name}"), route("POST", "/"), health(Second("ok", 1))], sockets=[socket])
    assert clashes(first, second) == ["GET /x/{}", "WEBSOCKET /ws"]
    assert clashes(first, app_of([route("GET", "/api/health", scope="x"), route("GET", "/x/{id}/y")])) == []


async def test_an_unknown_address_is_answered_in_both_shapes() -> None:
    joined = Joined([app_of([route("GET", "/a", echo)]), app_of([route("GET", "/b", echo)])])
    for path in ("/nowhere", "/api/nowhere", "/"):
        answer = await ask(joined, "GET", path)
        assert answer.status == 404
        assert answer.body == b'{"success":false,"error":"Not Found","code":"not_found","detail":"Not Found"}'
        assert answer.header("x-correlation-id")
        assert answer.header("x-frame-options") == "DENY"
    refused = await ask(joined, "GET", "/nowhere", headers={"host": "evil.example"})
    assert (refused.status, set(refused.json())) == (403, {"success", "error", "code", "detail"})
    assert (await ask(joined, "GET", "/%ff")).status == 400


async def test_each_face_keeps_its_own_rules() -> None:
    first = app_of([route("GET", "/a", echo, "scope")], name="first", spell=lambda error, call: json_reply("1", 500))
    second = app_of([route("GET", "/b", echo, "scope")], name="second", spell=lambda error, call: json_reply("2", 500))
    joined = Joined([first, second])
    assert [(await ask(joined, "GET", path)).json() for path in ("/a", "/b")] == ["1", "2"]


async def test_stopping_stops_both() -> None:
    first, second = app_of([route("GET", "/a", echo)]), app_of([route("GET", "/b", echo)])
    Joined([first, second]).stop()
    assert first.stopping.is_set()
    assert second.stopping.is_set()


async def test_sockets_are_joined_by_their_address() -> None:
    first = app_of([], sockets=[at("/ws")], name="first")
    second = app_of([route("GET", "/x")], sockets=[at("/tail/{id}")], name="second")
    joined = Joined([first, second])
    async with listening(Face("ufo", joined, Address("127.0.0.1", 0))) as listeners:  # type: ignore[arg-type]
        address = listeners.addresses["ufo"]
        for path, greeting in (("/ws", " {} None"), ("/tail/7", " {'id': '7'} None")):
            async with dial(address, path) as client:
                assert await client.recv() == greeting
        for path, status in (("/nowhere", 404), ("/x", 404), ("/%ff", 400)):
            with pytest.raises(InvalidStatus) as refused:
                await dial(address, path)
            assert refused.value.response.status_code == status
            assert b'"code":' in (refused.value.response.body or b"")
        async with connected(address) as wire:
            assert (await wire.request("GET", "/ws")).status == 426
            shown = (await wire.request("GET", "/openapi.json")).json()["paths"]
            assert {"/ws", "/tail/{id}", "/x"} == set(shown)

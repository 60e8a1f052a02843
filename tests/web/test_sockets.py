"""Who may open a WebSocket, with the client library that people use; everybody else is answered over HTTP."""

from __future__ import annotations

import logging

import pytest
from websockets.exceptions import InvalidStatus

from tests.web.asking import Lines, app_of, things
from tests.web.dialling import (
    ROUTES,
    at,
    by_token,
    dial,
    handshake,
    serving,
)
from tests.web.wire import connected
from treadle.core.access import Principal
from treadle.web.admission import Admission
from treadle.web.rate import RateLimit
from treadle.web.sockets import Handshake, Socket


@pytest.mark.parametrize(
    ("target", "headers", "greeting"),
    [
        ("/open", {}, " {} None"),
        ("/open/", {}, " {} None"),
        ("/api/things/a%2Fb/tail?after=7", {"Authorization": "Bearer all"}, "all {'thingId': 'a/b'} Look(after=7)"),
        ("/api/things/1/tail", {"X-API-Key": "some"}, "some {'thingId': '1'} Look(after=0)"),
        ("/api/things/1/tail?token=some&after=1", {}, "some {'thingId': '1'} Look(after=1)"),
        ("/api/all?token=%61ll", {}, "all {} None"),
        ("/open", {"Origin": "http://OWN"}, " {} None"),
        ("/open", {"Origin": "https://listed.example"}, " {} None"),
    ],
)
async def test_who_gets_in(target: str, headers: dict[str, str], greeting: str) -> None:
    app = app_of(
        things(), sockets=ROUTES, authenticate=by_token, admission=Admission(origins=["https://listed.example"])
    )
    async with serving(app) as address:
        given = {name: text.replace("OWN", str(address)) for name, text in headers.items()}
        async with dial(address, target, additional_headers=given) as client:
            assert await client.recv() == greeting
            await client.send("text")
            await client.send(b"\x00\xff")
            assert [await client.recv(), await client.recv()] == ["text", b"\x00\xff"]


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/nowhere", {}, 404),
        ("/health", {}, 404),  # an address of HTTP is none of a socket
        ("/api/nowhere", {}, 401),
        ("/api/nowhere?token=all", {}, 404),
        ("/api/all", {}, 401),
        ("/api/all?token=wrong", {}, 401),
        ("/api/all?token=some", {}, 403),
        ("/api/all", {"Authorization": "Bearer wrong"}, 401),
        ("/api/things/1/tail?token=some&after=x", {}, 422),
        ("/api/things/1/tail?token=some&other=1", {}, 422),
        ("/open", {"Origin": "https://evil.example"}, 403),
        ("/open", {"Origin": "null"}, 403),
        ("/open", {"Origin": "http://localhost:1"}, 403),
        ("/open%ff", {}, 400),
    ],
)
async def test_refusals_are_answers_in_the_face_s_shape(target: str, headers: dict[str, str], status: int) -> None:
    app = app_of(things(), sockets=ROUTES, authenticate=by_token)
    async with serving(app) as address:
        with pytest.raises(InvalidStatus) as refused:
            await dial(address, target, additional_headers=headers)
        answer = refused.value.response
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.body is not None
        assert answer.body.startswith(b'{"success":false,"error":"')
        assert answer.headers["x-correlation-id"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_an_unknown_host_is_refused() -> None:
    async with serving(app_of([], sockets=ROUTES)) as address, connected(address) as wire:
        await wire.send(handshake("/open", host="evil.example"))
        assert (await wire.answer()).status == 403


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake("/open", method="POST"), 405),
        (handshake("/open").replace("Version: 13", "Version: 12"), 400),
        (handshake("/open").replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", ""), 400),
        (handshake("/open?" + "x" * 9000), 414),
        (handshake("/open", X_Long="x" * 9000), 431),
        (handshake("/open", Host="localhost"), 400),
        ("GET /open HTTP/1.1\nHost: localhost\n\n", 426),
        ("GET /open HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: h2c\n\n", 426),
    ],
)
async def test_what_is_no_handshake_is_answered(request_: str, status: int) -> None:
    async with serving(app_of(things(), sockets=ROUTES)) as address, connected(address) as wire:
        await wire.send(request_)
        answer = await wire.head()
        assert answer.status == status


async def test_a_path_that_is_no_ascii_is_answered() -> None:
    async with serving(app_of(things(), sockets=ROUTES)) as address, connected(address) as wire:
        await wire.send(handshake("/open").replace("\n", "\r\n").encode().replace(b"/open", b"/op\xe9n"))
        assert (await wire.head()).status in (400, 404)


async def test_calls_are_counted_as_others_are() -> None:
    app = app_of([], sockets=ROUTES, authenticate=by_token, rate=RateLimit(2))
    async with serving(app) as address:
        for _ in range(2):
            async with dial(address, "/api/all?token=all"):
                pass
        async with dial(address, "/open"):
            pass  # not under the prefix
        with pytest.raises(InvalidStatus) as refused:
            await dial(address, "/api/all?token=all")
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["retry-after"]


async def test_subprotocols() -> None:
    seen: list[tuple[str, ...]] = []

    async def named(socket: Socket) -> None:
        seen.append(socket.offered)
        await socket.accept(socket.offered[0])

    lines = Lines()
    routes = [at("/known", subprotocols=("b", "a")), at("/named", named)]
    async with serving(app_of([], lines, sockets=routes)) as address:
        for offered, chosen in ((["a", "b", "c"], "b"), (["a"], "a"), (["c"], None)):
            async with dial(address, "/known", subprotocols=offered) as client:
                assert client.subprotocol == chosen
        async with dial(address, "/named", subprotocols=["x", "root", "pass-word"]) as client:
            assert client.subprotocol == "x"
    assert seen == [("x", "root", "pass-word")]
    assert b"pass-word" not in lines.text


async def test_the_log_says_open_and_close_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines()
    caplog.set_level(logging.DEBUG)
    done: list[tuple[str, int]] = []
    app = app_of(
        [],
        lines,
        sockets=ROUTES,
        authenticate=by_token,
        on_done=lambda call, status, _: done.append((call.path, status)),
    )
    async with serving(app) as address:
        async with dial(address, "/api/all?token=all", additional_headers={"X-Correlation-ID": "mine"}) as client:
            assert client.response is not None
            assert client.response.headers["x-correlation-id"] == "mine"
            await client.close(4000)
        with pytest.raises(InvalidStatus):
            await dial(address, "/api/all?token=secret")
    app.log.flush()
    rows = sorted(lines.rows(), key=lambda row: (row["message"], row.get("status", 0)))
    said = [(row["message"], row["path"], row.get("status"), row.get("code")) for row in rows]
    assert said == [
        ("request", "/api/all", 101, None),
        ("request", "/api/all", 401, None),
        ("socket closed", "/api/all", None, 4000),
    ]
    assert rows[0]["correlationId"] == rows[2]["correlationId"] == "mine"
    assert done == [("/api/all", 101), ("/api/all", 401)]
    mine = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not any("token" in line or "secret" in line for line in (*mine, lines.text.decode()))


def test_a_handshake_keeps_the_token_out_of_the_query() -> None:
    scope = {
        "type": "websocket", "scheme": "wss", "path": "/s", "raw_path": b"/s", "headers": [(b"host", b"h")],
        "query_string": b"a=1&token=x%26+y&b=2", "client": None, "subprotocols": ["p"],
    }  # fmt: skip
    call = Handshake(scope, None, nobody=Principal(name="", face=""), body_limit=0, stopping=None)  # type: ignore[arg-type]
    assert (call.token, call.query_string, call.scheme, call.method) == ("x& y", b"a=1&b=2", "https", "GET")
    assert call.offered == ("p",)


def test_a_socket_says_who_may_open_it() -> None:
    with pytest.raises(ValueError, match="says who may call it"):
        at("/s", scope="")
    with pytest.raises(ValueError, match="WebSocket s: a path starts with a slash"):
        at("s")

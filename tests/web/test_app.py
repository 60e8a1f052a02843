"""The steps every request takes, in their order, and what every answer carries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.web.asking import Answer, Lines, app_of, ask, route, things
from treadle.core.access import Principal
from treadle.core.errors import Duplicate, StoreFull, Unauthenticated
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.asgi import Message
from treadle.web.call import Call, Reply, json_reply
from treadle.web.rate import RateLimit

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


async def test_a_request_is_bound_and_answered() -> None:
    app = app_of(things())
    answer = await ask(app, "POST", "/api/things", {"name": "a", "size": 3}, key="all")
    assert answer.status == 200
    assert answer.json() == {
        "route": "/api/things", "params": {}, "query": None, "body": {"name": "a", "size": 3}, "principal": "all",
        "client": "127.0.0.1",
    }  # fmt: skip
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    answer = await ask(app, "GET", "/api/things?limit=3&tag=x&tag=y", key="some")
    assert answer.json()["query"] == {"limit": 3, "tag": ["x", "y"]}
    assert (await ask(app, "GET", "/health")).json()["principal"] == ""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "GET", "target": "/nowhere"}, 404),
        ({"method": "GET", "target": "/api/nowhere"}, 401),
        ({"method": "GET", "target": "/api"}, 401),
        ({"method": "GET", "target": "/apis"}, 404),
        ({"method": "PATCH", "target": "/api/things"}, 401),
        ({"method": "PATCH", "target": "/health"}, 405),
        ({"method": "GET", "target": "/api/nowhere", "key": "all"}, 404),
        ({"method": "PATCH", "target": "/api/things", "key": "all"}, 405),
        ({"method": "GET", "target": "/api/things"}, 401),
        ({"method": "GET", "target": "/api/things", "key": "wrong"}, 401),
        ({"method": "GET", "target": "/api/things?limit=0"}, 401),
        ({"method": "POST", "target": "/api/things", "body": b"{"}, 401),
        ({"method": "POST", "target": "/api/things", "body": b"{", "key": "some"}, 403),
        ({"method": "POST", "target": "/api/things", "body": b"{", "key": "all"}, 400),
        ({"method": "POST", "target": "/api/things", "body": {}, "key": "all"}, 422),
        ({"method": "GET", "target": "/api/things?limit=0", "key": "some"}, 422),
        ({"method": "GET", "target": "/api/things?tag=%ff", "key": "some"}, 400),
        ({"method": "GET", "target": "/api/things/%ff", "key": "some"}, 400),
        ({"method": "GET", "target": "/health", "headers": {"host": "evil.example"}}, 403),
        ({"method": "GET", "target": "/health", "headers": {"host": None}}, 400),
        ({"method": "GET", "target": "/health", "more_headers": [("host", "localhost")]}, 400),
    ],
)
async def test_the_first_refusal_wins(request_: dict[str, Any], status: int) -> None:
    answer = await ask(app_of(things()), **request_)
    assert answer.status == status
    assert answer.json()["success"] is False


async def test_an_open_face_does_not_ask_before_404() -> None:
    assert (await ask(app_of(things(), guarded=False), "GET", "/api/nowhere")).status == 404


@pytest.mark.parametrize(
    ("media", "body", "status"),
    [
        (None, b'{"name":"a"}', 200),
        ("application/json; charset=utf-8", b'{"name":"a"}', 200),
        ("APPLICATION/JSON", b'{"name":"a"}', 200),
        ("application/merge-patch+json", b'{"name":"a"}', 200),
        ("application/x-www-form-urlencoded", b"name=a&size=2", 200),
        ("application/x-www-form-urlencoded", b'{"name":"a"}', 200),  # what `curl -d` says of JSON
        ("application/x-www-form-urlencoded", b"name=A", 422),
        ("text/plain", b'{"name":"a"}', 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("text/plain", b"", 422),  # there is no body to be of the wrong kind
    ],
)
async def test_bodies_of_every_kind(media: str | None, body: bytes, status: int) -> None:
    answer = await ask(app_of(things()), "POST", "/api/things", body, {"content-type": media}, key="all")  # type: ignore[dict-item]
    assert answer.status == status


async def test_a_form_and_a_compressed_body_are_refused_where_they_cannot_be_read() -> None:
    app = app_of(things())
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await ask(app, "POST", "/api/login", b"name=a", form)).status == 415
    assert (await ask(app, "POST", "/api/login", {"name": "a"}, {"content-encoding": "gzip"})).status == 415
    assert (await ask(app, "POST", "/api/login", {"name": "a"}, {"content-encoding": "identity"})).status == 200


async def test_a_large_body_is_refused_by_its_length_and_by_its_bytes() -> None:
    app = app_of(things(), body_limit=100)
    body = b'{"name":"a"' + b" " * 100 + b"}"
    assert (await ask(app, "POST", "/api/login", body)).status == 413
    chunked = {"content-length": None, "transfer-encoding": "chunked"}
    assert (await ask(app, "POST", "/api/login", body, chunked)).status == 413  # type: ignore[arg-type]
    assert (await ask(app, "POST", "/api/login", body[:11] + b"}", chunked)).status == 200  # type: ignore[arg-type]
    assert (await ask(app, "POST", "/api/login", b"{}", {"content-length": "-1"})).status == 400


async def test_every_answer_carries_the_standing_headers() -> None:
    app = app_of(things(), rate=RateLimit(2))
    answers = [
        await ask(app, "GET", "/health"),
        await ask(app, "GET", "/nowhere"),
        await ask(app, "OPTIONS", "/health"),
        await ask(app, "GET", "/api/things"),
        await ask(app, "POST", "/api/things", b"{", key="all"),
        await ask(app, "POST", "/api/things", b"{", key="all"),
        await ask(app, "GET", "/health", headers={"host": "evil.example"}),
    ]
    assert [answer.status for answer in answers] == [200, 404, 204, 401, 400, 429, 403]
    for answer in answers:
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-frame-options") == "DENY"
        assert answer.header("x-xss-protection") == "1; mode=block"
        assert answer.header("referrer-policy") == "no-referrer"
        assert answer.header("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
        assert answer.header("cross-origin-opener-policy") == "same-origin"
        assert answer.header("cross-origin-resource-policy") == "same-origin"
        assert answer.header("cache-control") == "no-store"
        assert answer.header("strict-transport-security") is None
        assert answer.header("server") is None
        assert UUID4.match(answer.header("x-correlation-id") or "")
    assert answers[3].header("www-authenticate") == "Bearer"
    assert (await ask(app, "GET", "/health", scheme="https")).header("strict-transport-security") == "max-age=31536000"


async def test_a_reply_may_replace_a_standing_header() -> None:
    async def page(_: Call) -> Reply:
        own = ((b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"max-age=60"))
        return Reply(body=b"<p>", media_type=b"text/html", headers=own)

    answer = await ask(app_of([route("GET", "/", page)]), "GET", "/")
    assert answer.header("content-security-policy") == "default-src 'self'"
    assert answer.header("cache-control") == "max-age=60"
    assert answer.header("x-frame-options") == "DENY"


@pytest.mark.parametrize("given", ["abc", "A.b_c:d-9", "x" * 128, "0b7e1f6a-0000-4000-8000-000000000000"])
async def test_a_callers_correlation_id_is_kept(given: str) -> None:
    lines = Lines()
    app = app_of(things(), lines)
    answer = await ask(app, "GET", "/nowhere", headers={"X-Correlation-ID": given})
    assert answer.header("x-correlation-id") == given
    app.log.flush()
    assert lines.rows()[-1]["correlationId"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\n", "é", '"', "a/b"])
async def test_a_strange_correlation_id_is_replaced(given: str) -> None:
    answer = await ask(app_of(things()), "GET", "/health", headers={"X-Correlation-ID": given})
    assert UUID4.match(answer.header("x-correlation-id") or "")


async def test_fresh_correlation_ids_differ() -> None:
    app = app_of(things())
    assert len({(await ask(app, "GET", "/health")).header("x-correlation-id") for _ in range(50)}) == 50


def rate_of(answer: Answer) -> tuple[str | None, ...]:
    return tuple(answer.header(f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))


async def test_the_rate_limit_counts_refuses_and_says_when_to_come_back() -> None:
    now = [1000.0]
    rows = [*things(), route("GET", "/api/free", scope="thing:read", counted=False)]
    app = app_of(rows, rate=RateLimit(3, window=900), clock=lambda: now[0])
    assert rate_of(await ask(app, "GET", "/api/things", key="all")) == ("3", "2", "1900")
    now[0] = 1100.5
    assert rate_of(await ask(app, "GET", "/api/things")) == ("3", "1", "1900")  # a refused credential counts
    assert rate_of(await ask(app, "GET", "/api/free", key="all")) == ("3", "1", "1900")
    assert rate_of(await ask(app, "OPTIONS", "/api/things")) == ("3", "1", "1900")
    assert rate_of(await ask(app, "GET", "/api/nowhere", key="all")) == ("3", "0", "1900")
    refused = await ask(app, "GET", "/api/things", key="all")
    assert (refused.status, refused.header("retry-after"), rate_of(refused)) == (429, "800", ("3", "0", "1900"))
    assert (await ask(app, "GET", "/api/free", key="all")).status == 200
    assert (await ask(app, "GET", "/api/free", key="guess")).status == 429  # or guessing would be free
    assert rate_of(await ask(app, "GET", "/health")) == (None, None, None)
    assert rate_of(await ask(app, "GET", "/api/things", key="all", client="10.0.0.1")) == ("3", "2", "2000")
    now[0] = 1900
    assert rate_of(await ask(app, "GET", "/api/things", key="all")) == ("3", "2", "2800")


async def test_no_limit_means_no_headers_and_no_refusal() -> None:
    app = app_of(things(), rate=RateLimit(0))
    answers = [await ask(app, "GET", "/api/things", key="all") for _ in range(5)]
    assert {(answer.status, rate_of(answer)) for answer in answers} == {(200, (None, None, None))}


async def test_a_face_decides_which_calls_count() -> None:
    app = app_of(things(), rate=RateLimit(1), counts=lambda call: call.principal.name != "all")
    assert [(await ask(app, "GET", "/api/things", key="all")).status for _ in range(3)] == [200] * 3
    assert [(await ask(app, "GET", "/api/things", key="some")).status for _ in range(2)] == [200, 429]


async def test_an_error_is_spelled_by_the_face_and_the_unexpected_is_logged() -> None:
    async def taken(_: Call) -> Reply:
        raise Duplicate("taken already")

    async def full(_: Call) -> Reply:
        raise StoreFull

    async def broken(_: Call) -> Reply:
        raise ZeroDivisionError("a secret detail")

    lines = Lines()
    app = app_of([route("GET", "/taken", taken), route("GET", "/full", full), route("GET", "/broken", broken)], lines)
    assert (await ask(app, "GET", "/taken")).json() == {"success": False, "error": "taken already", "details": None}
    assert (await ask(app, "GET", "/full")).status == 503
    answer = await ask(app, "GET", "/broken", headers={"x-correlation-id": "c-1"})
    assert answer.status == 500
    assert b"secret" not in answer.body
    app.log.flush()
    failures = [row for row in lines.rows() if row["message"] != "request"]
    assert [row["message"] for row in failures] == ["store unavailable", "request failed"]
    assert failures[1]["correlationId"] == "c-1"
    assert "ZeroDivisionError: a secret detail" in failures[1]["error"]
    assert "in broken" in failures[1]["error"]


async def test_a_faces_constant_reply_is_not_changed() -> None:
    constant = json_reply({"success": False}, 500)
    app = app_of(things(), spell=lambda error, call: constant)
    assert [(await ask(app, "PATCH", "/health")).header("allow") for _ in range(2)] == ["GET, HEAD, OPTIONS"] * 2
    assert (constant.status, constant.headers) == (500, ())


async def test_who_is_done_is_told() -> None:
    done: list[tuple[str | None, str, int]] = []

    def hear(call: Call, status: int, seconds: float) -> None:
        assert 0 <= seconds < 5
        done.append((call.route.path if call.route else None, call.method, status))

    app = app_of(things(), on_done=hear)
    await ask(app, "GET", "/api/things/1", key="all")
    await ask(app, "GET", "/nowhere")
    await ask(app, "POST", "/api/things", b"{", key="all")
    assert done == [("/api/things/{thingId}", "GET", 200), (None, "GET", 404), ("/api/things", "POST", 400)]


async def test_the_query_is_never_logged() -> None:
    lines = Lines()
    app = app_of(things(), lines)
    await ask(app, "GET", "/health?token=hunter2", headers={"user-agent": "curl/8"})
    app.log.flush()
    assert b"hunter2" not in lines.text
    row = lines.rows()[0]
    names = ("level", "message", "method", "path", "status", "client", "userAgent", "face")
    assert {name: row[name] for name in names} == {
        "level": "info", "message": "request", "method": "GET", "path": "/health", "status": 200,
        "client": "127.0.0.1", "userAgent": "curl/8", "face": "test",
    }  # fmt: skip
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z", row["timestamp"])


async def test_a_socket_that_nobody_declared_is_refused() -> None:
    sent: list[Message] = []
    extensions: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "scheme": "ws", "path": "/health", "raw_path": b"/health", "query_string": b"",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 4711), "extensions": extensions,
    }  # fmt: skip
    await app_of(things())(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    extensions["websocket.http.response"] = {}
    await app_of(things())(scope, receive, send)
    assert sent[1]["status"] == 404
    assert sent[2]["body"].startswith(b'{"success":false')


class Client:
    """A client that can leave: what it is sent is kept, and `leave` is its disconnect."""

    def __init__(self, path: str) -> None:
        self.scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "scheme": "http", "client": ("127.0.0.1", 1), "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.heard = asyncio.Event()
        self._first = True

    def leave(self) -> None:
        self.gone.set()

    async def receive(self) -> dict[str, Any]:
        if self._first:
            self._first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.heard.set()

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


class Source:
    """A stream that gives one chunk and then waits for ever; knows whether it was closed."""

    def __init__(self) -> None:
        self.finished = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self.finished.is_set()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            self.finished.set()


def streaming(source: Source, media: bytes) -> App:
    async def stream(_: Call) -> Reply:
        return Reply(stream=source.chunks(), media_type=media)

    return app_of([route("GET", "/stream", stream)])


async def test_a_stream_is_closed_when_the_client_leaves() -> None:
    source, client = Source(), Client("/stream")
    app = streaming(source, b"text/event-stream")
    async with asyncio.TaskGroup() as group:
        group.create_task(app(client.scope, client.receive, client.send))
        await client.heard.wait()
        assert len(app.streams) == 1
        client.leave()
    assert source.closed
    assert (client.text, client.ended) == (b"first", False)
    assert len(app.streams) == 0


@pytest.mark.parametrize(("media", "cleanly"), [(b"text/event-stream", True), (b"application/octet-stream", False)])
async def test_a_stream_is_closed_when_the_server_stops(media: bytes, cleanly: bool) -> None:
    """Only an event stream may look complete: half a file must not."""
    source, client = Source(), Client("/stream")
    app = streaming(source, media)
    async with asyncio.TaskGroup() as group:
        group.create_task(app(client.scope, client.receive, client.send))
        await client.heard.wait()
        app.stop()
    assert source.closed
    assert client.ended is cleanly
    late = Client("/stream")
    await app(late.scope, late.receive, late.send)
    assert late.text == b""


async def test_a_stream_that_ends_is_complete_and_one_that_fails_is_not() -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def failing() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("disk gone")

    async def good(_: Call) -> Reply:
        return Reply(stream=two())

    async def bad(_: Call) -> Reply:
        return Reply(stream=failing())

    lines = Lines()
    app = app_of([route("GET", "/good", good), route("GET", "/bad", bad)], lines)
    client = Client("/good")
    await app(client.scope, client.receive, client.send)
    assert (client.text, client.ended) == (b"onetwo", True)
    assert (await ask(app, "HEAD", "/good")).body == b""
    assert not any(name == b"content-length" for name, _ in client.sent[0]["headers"])
    client = Client("/bad")
    await app(client.scope, client.receive, client.send)
    assert (client.text, client.ended) == (b"one", False)
    assert "disk gone" in lines.rows()[-1]["error"]


async def test_waiting_ends_with_the_client_or_with_the_server() -> None:
    events: list[str] = []

    async def wait(call: Call) -> Reply:
        async def for_ever() -> None:
            events.append("waiting")
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                events.append("cancelled")

        await call.unless_gone(for_ever())
        return Reply()

    statuses: list[int] = []
    app = app_of([route("GET", "/wait", wait)], on_done=lambda call, status, seconds: statuses.append(status))
    for leaves in (True, False):
        started = asyncio.Event()
        client = Client("/wait")
        async with asyncio.TaskGroup() as group:
            group.create_task(app(client.scope, client.receive, client.send))
            await started.wait()
            client.leave() if leaves else app.stop()
        if leaves:
            assert client.sent == []
        else:
            assert client.sent[0]["status"] == 503
            assert (b"retry-after", b"1") in client.sent[0]["headers"]
    assert events == ["waiting", "cancelled"] * 2
    assert statuses == [499, 503]


async def test_waiting_gives_the_result_or_the_error_of_what_was_waited_for() -> None:
    async def seven() -> int:
        return 7

    async def refuse() -> int:
        raise Unauthenticated

    async def good(call: Call) -> Reply:
        return json_reply(await call.unless_gone(seven()))

    async def bad(call: Call) -> Reply:
        return json_reply(await call.unless_gone(refuse()))

    app = app_of([route("GET", "/good", good), route("GET", "/bad", bad)])
    for path, status in (("/good", 200), ("/bad", 401)):
        client = Client(path)
        await app(client.scope, client.receive, client.send)
        assert client.sent[0]["status"] == status


async def test_the_scope_check_asks_the_principal_once_for_each_set_of_scopes() -> None:
    class Asked(Principal, frozen=True):
        def holds(self, scope: str) -> bool:
            asked.append(scope)
            return super().holds(scope)

    asked: list[str] = []

    async def known(_: Call) -> Principal:
        return Asked("a", "test", scopes=("thing:*",))

    app = app_of(things(), authenticate=known, admission=Admission())
    for _ in range(3):
        assert (await ask(app, "GET", "/api/things/1")).status == 200
    assert asked == ["thing:read"]

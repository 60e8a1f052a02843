"""Asking an application directly, without a socket; and the small face that the tests of this folder ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from treadle.core.access import PUBLIC, Principal
from treadle.core.errors import (
    Conflict,
    Denied,
    FabricError,
    Invalid,
    Malformed,
    NotFound,
    StoreUnavailable,
    TooMany,
    Unauthenticated,
)
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.openapi import Spec
from treadle.web.routes import Route

STATUSES: dict[type[FabricError], int] = {
    Invalid: 422,
    Malformed: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    StoreUnavailable: 503,
}


class Thing(Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: Annotated[str, Meta(min_length=1, max_length=20, pattern=r"^[a-z0-9-]+\Z")]
    size: Annotated[int, Meta(ge=0, le=10)] = 0
    tags: list[str] = []


class Filter(Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    tag: list[str] = []


class Problem(Struct):
    success: bool
    error: str
    details: list[dict[str, Any]] | None = None


class Answer(Struct):
    """What came back: the headers by lower-case name, each with all its values."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def header(self, name: str) -> str | None:
        values = self.headers.get(name, [])
        assert len(values) < 2, f"{name} is sent {len(values)} times"
        return values[0] if values else None


class Lines:
    """Where a test's log goes."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, lines: bytes) -> None:
        self.text += lines

    def rows(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.text.splitlines()]


def spell(error: Exception, call: Call) -> Reply:
    """The test face's shape of an error, found by the nearest class as the real faces do it."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    message = error.message if isinstance(error, FabricError) else "Internal error"
    details = None
    if isinstance(error, Invalid):
        details = [msgspec.to_builtins(fault) for fault in error.faults]
    return json_reply(Problem(False, message, details), status)


async def authenticate(call: Call) -> Principal:
    """`Bearer all` holds every scope, `Bearer some` only `thing:read`."""
    token = call.header("authorization")
    scopes = {"Bearer all": ("*",), "Bearer some": ("thing:read",)}.get(token or "")
    if scopes is None:
        raise Unauthenticated
    return Principal(name=(token or "").split()[1], face="test", scopes=scopes)


async def echo(call: Call) -> Reply:
    """What the handler was given."""
    return json_reply(
        {
            "route": call.route.path if call.route else None,
            "params": call.params,
            "query": call.query,
            "body": call.body,
            "principal": call.principal.name,
            "client": call.client,
        }
    )


def route(method: str, path: str, handler: Any = echo, scope: str = PUBLIC, **more: Any) -> Route:
    return Route(method=method, path=path, handler=handler, scope=scope, summary=f"{method} {path}", **more)


def things() -> list[Route]:
    return [
        route("GET", "/health"),
        route("GET", "/api/things", scope="thing:read", query=Filter, reply=list[Thing]),
        route("POST", "/api/things", scope="thing:write", body=Thing, reply=Thing, form=True),
        route("GET", "/api/things/{thingId}", scope="thing:read", reply=Thing, errors=(404,)),
        route("DELETE", "/api/things/{thingId}", scope="thing:write"),
        route("POST", "/api/login", body=Thing),
    ]


def app_of(routes: Iterable[Route], lines: Lines | None = None, **more: Any) -> App:
    """An application with the test face's spelling and keys; every argument can be replaced."""
    given: dict[str, Any] = {
        "name": "test",
        "routes": list(routes),
        "spell": spell,
        "authenticate": authenticate,
        "admission": Admission(),
        "log": Log((lines or Lines()).write),
        "spec": Spec(title="Test", version="1", error=Problem),
    }
    return App(**{**given, **more})


async def ask(
    app: Callable[..., Any],
    method: str,
    target: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    key: str | None = None,
    client: str = "127.0.0.1",
    scheme: str = "http",
    more_headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    """One request. A body that is no bytes is sent as JSON; `more_headers` may repeat names; None drops a header."""
    content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    raw_path, _, query = target.partition("?")
    given: dict[str, str | None] = {"host": "localhost:3000"}
    if body is not None:
        given |= {"content-length": str(len(content)), "content-type": "application/json"}
    if key is not None:
        given["authorization"] = f"Bearer {key}"
    given |= {name.lower(): value for name, value in (headers or {}).items()}
    listed = [(name, value) for name, value in given.items() if value is not None] + list(more_headers)
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "scheme": scheme,
        "client": (client, 4711),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in listed],
    }
    incoming = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent, "the application answered nothing"
    start = sent[0]
    got: dict[str, list[str]] = {}
    for name, value in start["headers"]:
        assert name == name.lower()
        got.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return Answer(start["status"], got, b"".join(message.get("body", b"") for message in sent[1:]))

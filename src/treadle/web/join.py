"""Several faces on one socket: each request goes to the first face that knows its address."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from treadle.core.access import PUBLIC, Principal
from treadle.core.errors import Denied, FabricError, Malformed, NotFound, StoreUnavailable, TooMany, Unauthenticated
from treadle.web.app import App
from treadle.web.asgi import Receive, Scope, Send
from treadle.web.call import Call, Reply, json_reply
from treadle.web.docs import docs_routes
from treadle.web.openapi import Part, document, openapi_route
from treadle.web.refusals import NoRoute
from treadle.web.routes import Handler, Route, Row

DOCS = "/docs"
MERGED = (("GET", "/api/health"),)
"""What several faces on one socket may all have: answered with the keys of all, and the health of the whole."""
HEALTHY = "healthy"

_SPELLED: tuple[tuple[type[FabricError], int, str], ...] = (
    (Unauthenticated, 401, "unauthenticated"),
    (Denied, 403, "denied"),
    (NotFound, 404, "not_found"),
    (Malformed, 400, "malformed"),
    (TooMany, 429, "too_many"),
    (StoreUnavailable, 503, "unavailable"),
)


class Joined:
    """The ASGI application of a shared socket.

    Before all faces come the routes that are nobody's alone: the merged ones, one `/openapi.json` and one `/docs` for
    all. What nobody knows is answered in both shapes.
    """

    def __init__(self, apps: Sequence[App]) -> None:
        self.apps = tuple(apps)
        first = self.apps[0]
        parts = [app.part(app.spec) for app in self.apps if app.spec is not None]
        routes = list(_merged(self.apps))
        if parts:
            title = " and ".join(part.spec.title for part in parts)
            own = Part(parts[0].spec, tuple(routes), False, "")
            describe = lambda: document([own, *parts], title=title)  # noqa: E731
            routes += [openapi_route(describe), *docs_routes(DOCS, title)]
        self.own = App(
            name="+".join(app.name for app in self.apps),
            routes=routes,
            spell=spell_both,
            authenticate=_nobody,
            admission=first.admission,
            log=first.log,
            guarded=False,
        )

    def stop(self) -> None:
        for app in (self.own, *self.apps):
            app.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.own
        if scope["type"] == "http":
            app = self._for(scope["raw_path"], scope["method"])
        elif scope["type"] == "websocket":
            app = self._with_socket(scope["raw_path"])
        await app(scope, receive, send)

    def _for(self, raw_path: bytes, method: str) -> App:
        """The first that has the address with this method, or else the first that has the address."""
        has_address = None
        wanted = "GET" if method == "HEAD" else method
        for app in (self.own, *self.apps):
            methods = app.methods(raw_path)
            if wanted in methods:
                return app
            if methods and has_address is None:
                has_address = app
        return has_address or self._with_socket(raw_path)

    def _with_socket(self, raw_path: bytes) -> App:
        return next((app for app in self.apps if app.door.knows(raw_path)), self.own)


def clashes(first: App, second: App) -> list[str]:
    """What two faces both declare (`GET /`), so that they cannot share a socket; what is merged is none."""
    return sorted(f"{method} {path}" for method, path in _declared(first) & _declared(second))


def _declared(app: App) -> set[tuple[str, str]]:
    merged = {found for found in MERGED if _public(app, *found) is not None}
    rows: Iterable[Row] = (*app.declared, *app.sockets)
    return {(row.method, re.sub(r"\{[^}*]+(\*?)\}", r"{\1}", row.path)) for row in rows} - merged


def _public(app: App, method: str, path: str) -> Route | None:
    found = (route for route in app.declared if (route.method, route.path, route.scope) == (method, path, PUBLIC))
    return next(found, None)


def _merged(apps: Sequence[App]) -> Iterator[Route]:
    for method, path in MERGED:
        rows = [row for app in apps if (row := _public(app, method, path)) is not None]
        if len(rows) > 1:
            yield Route(
                method=method, path=path, handler=_union(rows), scope=PUBLIC, counted=False,
                summary=" / ".join(dict.fromkeys(row.summary for row in rows)), reply=_union_type(rows),
            )  # fmt: skip


def _union(rows: Sequence[Route]) -> Handler:
    async def answer(call: Call) -> Reply:
        replies = [await row.handler(call) for row in rows]
        joined: dict[str, Any] = {}
        for reply in replies:
            joined |= msgspec.json.decode(reply.body)
        status = max(reply.status for reply in replies)
        return json_reply(joined | {"status": HEALTHY} if status == 200 else joined, status)

    return answer


def _union_type(rows: Sequence[Route]) -> Any:
    """A struct with the fields of all replies, for the document."""
    if not all(isinstance(row.reply, type) and issubclass(row.reply, msgspec.Struct) for row in rows):
        return None
    fields = {
        field.encode_name: (field.encode_name, field.type, field.default)
        for row in rows
        for field in msgspec.structs.fields(row.reply)
    }
    named = [(name, str if name == "status" else kind, default) for name, kind, default in fields.values()]
    return msgspec.defstruct("Health", [(n, k) if d is msgspec.NODEFAULT else (n, k, d) for n, k, d in named],
                             kw_only=True)  # fmt: skip


async def _nobody(_: Call) -> Principal:
    raise Unauthenticated


def spell_both(error: Exception, _: Call) -> Reply:
    """An error in the shape of both faces that share a socket: `success`, `error`, `code` and `detail`."""
    status, code, text = 500, "internal", "Internal Server Error"
    if isinstance(error, NoRoute):
        status, code, text = 404, "not_found", "Not Found"
    elif isinstance(error, FabricError):
        for kind, its_status, its_code in _SPELLED:
            if isinstance(error, kind):
                status, code, text = its_status, its_code, error.message
                break
    return json_reply({"success": False, "error": text, "code": code, "detail": text}, status)

"""Several faces on one socket: each request goes to the first face that knows its address."""

from collections.abc import Iterable, Sequence

from treadle.core.access import Principal
from treadle.core.errors import Denied, FabricError, Malformed, NotFound, StoreUnavailable, TooMany, Unauthenticated
from treadle.web.app import App
from treadle.web.asgi import Receive, Scope, Send
from treadle.web.call import Call, Reply, json_reply
from treadle.web.docs import docs_routes
from treadle.web.openapi import Part, document, openapi_route
from treadle.web.refusals import NoRoute
from treadle.web.routes import Route

DOCS = "/docs"

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

    Before all faces come the routes that are nobody's alone: the `merged` ones (an address that two faces have, where
    the answer says both), one `/openapi.json` and one `/docs` for all. What nobody knows is answered in both shapes.
    """

    def __init__(self, apps: Sequence[App], merged: Iterable[Route] = ()) -> None:
        self.apps = tuple(apps)
        first = self.apps[0]
        parts = [app.part(app.spec) for app in self.apps if app.spec is not None]
        routes = list(merged)
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
            path = scope["raw_path"]
            app = next((app for app in (self.own, *self.apps) if app.knows(path)), self.own)
        await app(scope, receive, send)


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

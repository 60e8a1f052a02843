"""A Console with a few routes behind the real gate, asked over ASGI; and a browser that keeps its cookies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.web.asking import Answer, Lines, ask
from treadle.core.access import PUBLIC
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.faces.console.errors import Failure, spell
from treadle.faces.console.gate import ADMIN, USE, Gate, GateOptions
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.openapi import Spec
from treadle.web.routes import Route

KEY = "the-local-key-of-a-test"
USER, PASSWORD = "ada", "engine-No.1/of Babbage"
HOST = "localhost:5000"
REMOTE = "192.0.2.7"


class Hands:
    """A clock that goes on only when it is told to; microseconds UTC."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


class Entries:
    """An access log with two entries."""

    level: Any = "access_denied"

    def entries(self, n: int) -> Sequence[Any]:
        return [{"endpoint": "/api/browse"}, {"endpoint": "/api/kill"}][:n]

    async def set_level(self, level: Any) -> None:
        self.level = level


async def _who(call: Call) -> Reply:
    principal = call.principal
    return json_reply({"name": principal.name, "scopes": principal.scopes, "client": call.client})


async def _page(_: Call) -> Reply:
    return Reply(body=b"<p>", media_type=b"text/html")


def _route(method: str, path: str, scope: str, *, page: bool = False) -> Route:
    more: dict[str, Any] = {"media_type": "text/html"} if page else {}
    return Route(method=method, path=path, handler=_page if page else _who, scope=scope, summary=path, **more)


class Console:
    """The application, its log, its clock."""

    def __init__(self, fabric: Fabric, hands: Hands, **options: Any) -> None:
        self.lines, self.hands, self.fabric = Lines(), hands, fabric
        log = Log(self.lines.write)
        self.gate = Gate(fabric, GateOptions(**options), log, Entries())
        self.app = App(
            name="console",
            routes=[
                *self.gate.routes(),
                _route("GET", "/api/health", PUBLIC),
                _route("GET", "/api/browse", USE),
                _route("POST", "/api/execute", USE),
                _route("PUT", "/api/config", ADMIN),
                _route("GET", "/", USE, page=True),
                _route("GET", "/config", ADMIN, page=True),
            ],
            spell=spell,
            authenticate=self.gate.authenticate,
            admission=self.gate.admission,
            log=log,
            spec=Spec(title="Console", version="1", error=Failure),
        )

    def browser(self, client: str = "127.0.0.1", scheme: str = "http") -> Browser:
        return Browser(self, client, scheme)


class Browser:
    """Asks, and keeps the cookies it is given."""

    def __init__(self, console: Console, client: str, scheme: str) -> None:
        self.console, self.client, self.scheme = console, client, scheme
        self.cookies: dict[str, str] = {}

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        csrf: str | None = None,
        form: Mapping[str, str] | None = None,
        **headers: Any,
    ) -> Answer:
        sent = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if csrf is not None:
            sent["x-csrf-token"] = csrf
        if form is not None:
            body = urlencode(form).encode()
            sent["content-type"] = "application/x-www-form-urlencoded"
        answer = await ask(self.console.app, method, target, body, sent, client=self.client, scheme=self.scheme)
        for line in answer.headers.get("set-cookie", []):
            for morsel in SimpleCookie(line).values():
                if morsel["max-age"] == "0":
                    self.cookies.pop(morsel.key, None)
                else:
                    self.cookies[morsel.key] = morsel.value
        return answer

    async def csrf(self) -> str:
        answer = await self.ask("GET", "/api/csrf_token")
        assert answer.status == 200
        token = answer.json()["csrf_token"]
        assert isinstance(token, str)
        return token

    async def log_in(self, name: str = USER, password: str = PASSWORD, **more: str) -> Answer:
        form = {"username": name, "password": password, "csrf_token": await self.csrf(), **more}
        return await self.ask("POST", "/login", form=form)

    async def manage(self, method: str, target: str, body: Any = None, status: int = 200) -> Any:
        """A change by a page of our own."""
        origin = f"{self.scheme}://{HOST}"
        answer = await self.ask(method, target, body, csrf=await self.csrf(), origin=origin)
        assert answer.status == status, answer.body
        return answer.json()


def hidden(page: bytes, field: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{field}" value="([^"]*)"', page.decode())
    assert found is not None
    return found[1]

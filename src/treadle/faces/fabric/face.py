"""The fabric face as one application: its routes, who gets in, and how much they may ask."""

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from treadle.core.access import PUBLIC, Principal
from treadle.core.errors import Denied, StoreUnavailable, Unauthenticated
from treadle.core.fabric import Fabric
from treadle.faces.fabric import spelling, wire
from treadle.faces.fabric.errors import spell
from treadle.faces.fabric.events import Events
from treadle.faces.fabric.leases import Leases
from treadle.faces.fabric.output import OutputRoutes
from treadle.faces.fabric.page import page_reply
from treadle.faces.fabric.projects import Projects
from treadle.faces.fabric.runs import Runs
from treadle.faces.fabric.tasks import Tasks
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.openapi import BEARER, Spec
from treadle.web.rate import RateLimit
from treadle.web.routes import Route

NAME = "fabric"
ANONYMOUS = Principal(name=f"anonymous@{NAME}", face=NAME, scopes=("queue:*", "runs:read"))
"""Who comes over loopback without a key: nobody who starts, feeds or ends a process."""


class Options(Struct, frozen=True, kw_only=True):
    """What a person sets for this face, and what it is told of the process it is in.

    `auth` "required" asks for a key on loopback too; elsewhere one is always needed. `rate_limit` is requests per 15
    minutes and address, 0 is off; whoever holds every right (the local key) is exempt. `listeners` says where each
    face is reached, once the sockets are open.
    """

    version: str
    listeners: Callable[[], Mapping[str, str]]
    auth: Literal["loopback", "required"] = "loopback"
    rate_limit: int = 0
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


def make(fabric: Fabric, options: Options, *, log: Log, routes: Sequence[Route] = ()) -> App:
    """The application that speaks the native API; `routes` are further rows that live at its address."""
    server, printed = _Server(fabric, options), OutputRoutes(fabric)
    return App(
        name=NAME,
        routes=[
            *server.routes(),
            *Projects(fabric).routes(),
            *Tasks(fabric).routes(),
            *Leases(fabric).routes(),
            *Events(fabric).routes(),
            *Runs(fabric).routes(),
            *printed.routes(),
            *routes,
        ],
        sockets=printed.sockets(),
        spell=spell,
        authenticate=_Door(fabric, options).authenticate,
        admission=Admission(hosts=options.hosts, origins=options.cors_origins),
        log=log,
        correlate=fabric.ids,
        rate=RateLimit(options.rate_limit) if options.rate_limit else None,
        counts=counts,
        spec=Spec(
            title="Treadle",
            version=options.version,
            error=wire.Error,
            description="Treadle's own API: projects, task types, tasks, leases, runs and what they print, "
            "machines, and the log of facts.",
            optional=options.auth != "required",
            security={"bearer": BEARER, "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        ),
        docs="/docs",
    )


def counts(call: Call) -> bool:
    """Whether a call counts towards the limit: the owner's do not."""
    return call.route is not None and call.route.counted and "*" not in call.principal.scopes


class _Door:
    """Says who calls."""

    def __init__(self, fabric: Fabric, options: Options) -> None:
        self._grants = fabric.grants
        self._required = options.auth == "required"

    async def authenticate(self, call: Call) -> Principal:
        key = shown_key(call)
        if key is None:
            if not self._required and is_loopback(call.client):
                return ANONYMOUS
            raise Unauthenticated("A key is needed here: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        grant = await self._grants.check(key)
        if grant is None or grant.face != NAME:
            raise Unauthenticated("This key is not known here, or no longer valid")
        if grant.project is not None:
            raise Denied("This key is for one project only, and this API speaks of all")
        return grant.opens_for()


def shown_key(call: Call) -> str | None:
    """The key that a call shows, if any; sockets may show it in their address."""
    authorization = call.header("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("Authorization must be `Bearer KEY`")
        return key.strip()
    return call.header("x-api-key") or call.token


def is_loopback(client: str) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class _Server:
    """What the server says of itself."""

    def __init__(self, fabric: Fabric, options: Options) -> None:
        self._fabric, self._options = fabric, options
        self._started = fabric.clock()

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/", handler=self.page, scope=PUBLIC, summary="What runs where, for people",
                  documented=False, counted=False, media_type="text/html"),
            Route(method="GET", path="/health", handler=self.health, scope=PUBLIC, reply=wire.Health, errors=(503,),
                  summary="Whether this server can do its work", tag="server", counted=False),
            Route(method="GET", path="/api/queue/about", handler=self.about, scope="queue:read", reply=wire.About,
                  summary="What runs here", tag="server"),
        ]  # fmt: skip

    async def page(self, _: Call) -> Reply:
        return page_reply(self._options.version, self._options.listeners())

    async def health(self, _: Call) -> Reply:
        try:
            await self._fabric.events.last()
        except StoreUnavailable:
            return json_reply(wire.Health("unhealthy", self._options.version), 503)
        return json_reply(wire.Health("healthy", self._options.version))

    async def about(self, _: Call) -> Reply:
        return json_reply(
            wire.About(
                version=self._options.version,
                pid=os.getpid(),
                started=spelling.instant(self._started),
                store=self._fabric.store.provider,
                listeners=dict(self._options.listeners()),
            )
        )

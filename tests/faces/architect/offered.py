"""Actions, facts and streams as a capability hands them in, over servers that are only names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from msgspec import Struct

from treadle.core.actions import Action, Answer, Caller
from treadle.core.errors import Conflict, NotFound, StoreFull, TooMany
from treadle.core.events import Event, Kind
from treadle.core.fabric import Fabric
from treadle.faces.architect import Area, Topic
from treadle.faces.architect.topics import Heard, Wanted

SERVERS = ("alpha", "beta")


class Busy(Conflict):
    """Another operation holds this server."""

    details = {"job": "j1"}  # noqa: RUF012 - what a capability's error may say besides


class Server(Struct):
    """Which server."""

    server: str


class Servers(Struct):
    """Which servers, all where none is named."""

    servers: list[str] = []


class Nothing(Struct):
    """No parameters."""


class Send(Struct):
    """A line for a server."""

    server: str
    input: str
    newline: bool = True


class World:
    """What the offered actions did."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()

    async def servers(self, _: Fabric, __: Caller, ___: Nothing) -> Answer:
        return Answer(data={"servers": [{"id": name, "state": "stopped"} for name in SERVERS], "total": 2})

    async def server(self, _: Fabric, __: Caller, asked: Server) -> Answer:
        if asked.server not in SERVERS:
            raise NotFound("Server", asked.server)
        return Answer(data={"id": asked.server})

    async def start(self, fabric: Fabric, caller: Caller, asked: Server) -> Answer:
        await self.server(fabric, caller, asked)
        self.done.append(("start", asked.server))
        fact = Event(cast("Kind", "server.started"), asked.server, fabric.clock(), None, {"pid": 7})
        await fabric.store.write(lambda tx: tx.append_events([fact]))
        return Answer(data={"server": asked.server, "state": "running"})

    async def start_many(self, _: Fabric, __: Caller, asked: Servers) -> Answer:
        self.done += [("start", name) for name in asked.servers or SERVERS]
        return Answer(data={"started": len(self.done)})

    async def send(self, _: Fabric, __: Caller, asked: Send) -> Answer:
        self.done.append(("send", asked.server))
        return Answer(data={"written": len(asked.input) + asked.newline})

    async def slow(self, _: Fabric, __: Caller, ___: Nothing) -> Answer:
        self.begun.set()
        await self.gate.wait()
        self.done.append(("slow", ""))
        return Answer(data={"done": True})

    async def large(self, _: Fabric, __: Caller, ___: Nothing) -> Answer:
        return Answer(data={"text": "x" * 1024 * 1024})

    async def broken(self, _: Fabric, __: Caller, asked: Server) -> Answer:
        raise {
            "busy": Busy("somebody else is at it"),
            "full": StoreFull("/a/path of this machine"),
            "often": TooMany("later", retry_after=3),
        }.get(asked.server) or ValueError("a secret of the inside")

    async def console(self, _: Fabric, __: Caller, wanted: Wanted) -> AsyncIterator[Heard]:
        for number in range(wanted.since or 0, 3):
            yield Heard("server.output", {"server": wanted.server, "lines": [{"seq": number, "text": "hello"}]})
        await asyncio.Event().wait()

    def rows(self) -> list[Action]:
        read, start = "server:list", "server:start"
        return [
            Action(name="servers", summary="All", params=Nothing, scope=read, run=self.servers, reads=True),
            Action(name="server", summary="One", params=Server, scope=read, run=self.server, reads=True),
            Action(name="server_start", summary="Start", params=Server, scope=start, run=self.start),
            Action(name="servers_start", summary="Start", params=Servers, scope=start, run=self.start_many),
            Action(name="server_send", summary="Type", params=Send, scope="server:send", run=self.send),
            Action(name="slow_change", summary="Wait", params=Nothing, scope="server:slow", run=self.slow),
            Action(name="slow_look", summary="Wait", params=Nothing, scope="server:slow", run=self.slow, reads=True),
            Action(name="large", summary="Much", params=Nothing, scope=read, run=self.large, reads=True),
            Action(name="broken", summary="Break", params=Server, scope="server:slow", run=self.broken),
        ]

    def offers(self) -> dict[str, Any]:
        return {
            "actions": self.rows(),
            "areas": [
                Area(prefix="server", subject="server", scope="server:list"),
                Area(prefix="backup", subject="backup", scope="backup:list", topic="backups"),
            ],
            "topics": [Topic(name="console", scope="server:console", follow=self.console)],
            "errors": {Busy: "busy"},
        }

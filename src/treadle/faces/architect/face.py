"""The Architect as one application: its health, its one WebSocket, and the life behind it."""

import asyncio
import platform
from collections.abc import Mapping, Sequence

from msgspec import Struct

from treadle.core.access import PUBLIC
from treadle.core.actions import Action, by_name
from treadle.core.errors import FabricError
from treadle.core.events import Event
from treadle.core.fabric import Fabric
from treadle.faces.architect import catalogue, events
from treadle.faces.architect.actions.agent import agent_actions
from treadle.faces.architect.actions.context import Context
from treadle.faces.architect.actions.session import session_actions
from treadle.faces.architect.actions.users import role_actions, user_actions
from treadle.faces.architect.audit import Audit
from treadle.faces.architect.bans import Bans
from treadle.faces.architect.conduct import Conducting
from treadle.faces.architect.door import CONNECT, Door
from treadle.faces.architect.errors import Failure, Speller, spell
from treadle.faces.architect.events import AREAS, Area, fact
from treadle.faces.architect.frames import INBOUND, PROTOCOL
from treadle.faces.architect.health import Health
from treadle.faces.architect.machine import Machine
from treadle.faces.architect.options import FACE, Options
from treadle.faces.architect.performing import Performing
from treadle.faces.architect.role_book import Roles
from treadle.faces.architect.session import Session
from treadle.faces.architect.telling import Telling
from treadle.faces.architect.topics import Topic
from treadle.faces.architect.users import Users
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.openapi import Spec
from treadle.web.routes import Route
from treadle.web.sockets import Socket, SocketRoute

AUDIT_SECONDS = 0.25
TIDY_EVERY = 240
"""Rounds of the audit after which kept replies of users who left are looked at."""
STOPPING = 1001
LEAVE_SECONDS = 5.0
"""How long `leave` waits for connections to end; whoever does not read is cut with the listener."""
_ABOUT = "A node that is commanded over one WebSocket, `/ws`, sub-protocol SMP1.0; `list_actions` lists its actions."


class AgentHealth(Struct):
    """Which agent this is."""

    version: str
    ssl: bool


class SystemHealth(Struct):
    """Which machine it runs on."""

    hostname: str


class HealthReply(Struct):
    """The health check."""

    agent: AgentHealth
    system: SystemHealth
    status: str = "running"


class Architect(App):
    """The application; `run` it beside its listener, and `leave` before the listener stops."""

    fabric: Fabric
    options: Options
    users: Users
    telling: Telling
    performing: Performing
    audit: Audit
    machine: Machine
    health: Health
    conducting: Conducting

    async def open(self) -> None:
        """Makes root at the first start, and reads the stored settings."""
        await self.users.open()
        await self.conducting.load()

    async def run(self) -> None:
        """Tells events, writes the audit, samples the machine; until cancelled."""
        await self.open()
        await self._note(fact("agent.ready", self.options.version, self.fabric.clock()))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.telling.run(), name="architect events")
            group.create_task(self.machine.run(), name="architect machine")
            group.create_task(self.health.run(), name="architect health")
            group.create_task(self._write_audit(), name="architect audit")

    async def leave(self) -> None:
        """Answers what is asked, says that the agent stops, and closes every connection with 1001."""
        stopping = self.telling.live("agent.stopping", PUBLIC, version=self.options.version)
        for session in list(self.telling.sessions.values()):
            session.leave()
        await self.telling.say(stopping)
        for session in list(self.telling.sessions.values()):
            session.end(STOPPING, "the agent is stopping")
        ends = [session.over for session in self.telling.sessions.values()]
        if ends:
            await asyncio.wait(ends, timeout=LEAVE_SECONDS)
        await self.performing.close()
        await self._flush()

    async def serve(self, socket: Socket) -> None:
        """One connection from its handshake to its end."""
        fabric = self.fabric
        session = Session(
            id=fabric.ids(),
            user=socket.principal.name,
            address=socket.client,
            clock=fabric.clock,
            ids=fabric.ids,
            begin=self.performing.begin,
            report=lambda error: self.log.failed("stream failed", error, face=FACE),
        )
        self.telling.sessions[session.id] = session
        about = {"user": session.user, "ip_address": session.address}
        try:
            await socket.accept()
            await self._note(fact("session.begin", session.id, fabric.clock(), **about))
            await session.serve(socket)
        finally:
            del self.telling.sessions[session.id]
            session.over.set_result(None)
            await self._note(fact("session.ended", session.id, fabric.clock(), **about))

    async def _note(self, known: Event) -> None:
        """Writes a fact down that nothing depends on."""
        try:
            await self.fabric.store.write(lambda tx: tx.append_events([known]))
        except FabricError as error:
            self.log.warning("a fact could not be noted", kind=known.kind, reason=error.message)

    async def _write_audit(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            await self._flush()
            rounds += 1
            if rounds % TIDY_EVERY == 0:
                self.performing.replies.tidy()

    async def _flush(self) -> None:
        try:
            lost = await self.audit.write()
        except FabricError as error:
            self.log.warning("the audit cannot be written", reason=error.message)
        else:
            if lost:
                self.log.warning("audit entries lost", entries=lost)


def make(
    fabric: Fabric,
    options: Options,
    log: Log,
    *,
    actions: Sequence[Action] = (),
    areas: Sequence[Area] = (),
    topics: Sequence[Topic] = (),
    errors: Mapping[type[FabricError], str] | None = None,
) -> Architect:
    """The application that speaks the Architect's API.

    `actions` are offered besides the face's own, `areas` are further facts that are told as events, `topics` further
    streams to subscribe to, `errors` the words (spec 3.4) of errors that those actions raise. Raises ValueError for
    names that clients could not use, or that are taken.
    """
    users, conducting, health = Users(fabric, root_file=options.root_file), Conducting(fabric, options), Health()
    bans = Bans(fabric.clock, lambda: (conducting.now.fail2ban_attempts, conducting.now.fail2ban_ban_time))
    audit = Audit(fabric.store, fabric.clock, fabric.ids, days=lambda: conducting.now.audit_logs_retention)
    told = events.by_prefix((*AREAS, *areas))

    async def learn(kind: str) -> None:
        if kind == "agent.config_changed":
            await conducting.load()

    telling = Telling(fabric, users, told, log, learn)
    context = Context(
        options=options,
        users=users,
        roles=Roles(fabric, users.forget),
        bans=bans,
        audit=audit,
        conducting=conducting,
        telling=telling,
        machine=Machine(fabric.clock),
        started=fabric.clock(),
    )
    rows: dict[str, Action] = {}
    rows |= by_name(
        [
            *agent_actions(context, health, lambda: rows),
            *session_actions(context),
            *user_actions(context),
            *role_actions(context),
            *actions,
        ]
    )
    catalogue.check(rows.values())
    streams = {(topic.name, topic.of_server): topic for topic in topics}
    if len(streams) < len(topics):
        raise ValueError("Two topics have the same name")
    context.topics = streams
    context.fact_topics = {area.topic: area.scope for area in told.values() if area.topic is not None}
    context.scopes = frozenset(
        (*(row.scope for row in rows.values()), *(area.scope for area in told.values()), "user:password",
         *(topic.scope for topic in topics))
    )  # fmt: skip

    async def healthy(_: Call) -> Reply:
        hostname = options.hostname or platform.node()
        return json_reply(HealthReply(AgentHealth(options.version, options.ssl), SystemHealth(hostname)))

    async def serve(socket: Socket) -> None:
        await app.serve(socket)

    app = Architect(
        name=FACE,
        routes=[
            Route(method="GET", path="/", handler=healthy, scope=PUBLIC, reply=HealthReply, counted=False,
                  summary="Whether the agent runs", tag="Agent"),
        ],
        sockets=[
            SocketRoute(path="/ws", handler=serve, scope=CONNECT, subprotocols=(PROTOCOL,), message_limit=INBOUND,
                        summary="Requests, replies and events as JSON objects", tag="Agent",
                        description="`Sec-WebSocket-Protocol: SMP1.0, USER, PASSWORD`; the answer is `SMP1.0` alone."),
        ],
        spell=spell,
        authenticate=Door(fabric, options, users, bans, conducting, telling, log).authenticate,
        admission=Admission(hosts=options.hosts, origins=options.cors_origins),
        log=log,
        correlate=fabric.ids,
        guarded=False,
        spec=Spec(title="Architect", version=options.version, error=Failure, description=_ABOUT),
    )  # fmt: skip
    app.fabric, app.options, app.users, app.telling, app.audit = fabric, options, users, telling, audit
    app.machine, app.health, app.conducting = context.machine, health, conducting
    app.performing = Performing(fabric, rows, users, audit, Speller(errors), log)
    return app

"""The actions on the agent itself: what it is, how it is, its settings, its log and audit, its end (spec 7.1)."""

import os
import platform
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from treadle.core.access import PUBLIC
from treadle.core.actions import Action, Answer, Caller
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.faces.architect import machine
from treadle.faces.architect.actions.context import Context, name_of
from treadle.faces.architect.actions.session import Nothing
from treadle.faces.architect.audit import Entry, key_of
from treadle.faces.architect.audit import seconds as date_of
from treadle.faces.architect.catalogue import described
from treadle.faces.architect.frames import PROTOCOL
from treadle.faces.architect.health import Health
from treadle.faces.architect.options import Options

_Word = Annotated[str, Meta(min_length=1, max_length=128)]
Instant = Annotated[float, Meta(ge=0, le=1e11)]


class ConfigSet(Struct):
    """Settings by name, those that change while the agent runs."""

    settings: Annotated[dict[str, Any], Meta(min_length=1)]


class LogAsked(Struct):
    """So many lines, of this level at least, before one."""

    lines: Annotated[int, Meta(ge=1, le=1000)] = 200
    level: Literal["debug", "info", "warning", "error"] | None = None
    before: _Word | None = None


class Shutdown(Struct):
    """Whether the servers are stopped too."""

    stop_servers: bool = False


class MetricsAsked(Struct):
    """The samples since an instant (UNIX seconds), at most one in so many seconds."""

    since: Annotated[int, Meta(ge=0)] = 0
    step: Annotated[int, Meta(ge=0)] = 0


class AuditAsked(Struct):
    """Entries of a user, an action, a server, between two instants (UNIX seconds); `cursor` goes on with a page."""

    user: _Word | None = None
    action: _Word | None = None
    server: _Word | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: _Word | None = None


def agent_actions(context: Context, health: Health, everything: Callable[[], Mapping[str, Action]]) -> list[Action]:
    """The rows; `everything` gives all actions of the face, once they are put together."""
    options, conducting = context.options, context.conducting

    async def list_actions(_: Fabric, caller: Caller, __: Nothing) -> Answer:
        rights = await context.rights(caller)
        return Answer(
            data={
                "actions": {
                    name: described(action, allowed=rights.hold(action.scope) or bool(rights.where(action.scope)))
                    for name, action in everything().items()
                }
            }
        )

    async def info(fabric: Fabric, _: Caller, __: Nothing) -> Answer:
        return Answer(
            data={
                "version": options.version,
                "protocol": PROTOCOL,
                "hostname": options.hostname or platform.node(),
                "os": platform.system(),
                "arch": platform.machine(),
                "python": platform.python_version(),
                "pid": os.getpid(),
                "started": context.started // SECOND,
                "uptime": (fabric.clock() - context.started) // SECOND,
                "ssl": options.ssl,
                "fingerprint": options.fingerprint() if options.fingerprint else None,
                "features": list(options.features),
            }
        )

    async def healthy(fabric: Fabric, _: Caller, __: Nothing) -> Answer:
        checks = await health.checks(fabric)
        sessions = context.telling.sessions.values()
        return Answer(
            data={
                "status": "ok" if all(check["ok"] for check in checks.values()) else "degraded",
                "checks": checks,
                "event_loop_lag": round(health.lag * 1000, 1),
                "queues": {
                    "connections": len(sessions),
                    "in_flight": sum(session.in_flight for session in sessions),
                    "outbound_bytes": sum(session.outbox.size for session in sessions),
                },
            }
        )

    async def config(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        settings, sources = options.settings() if options.settings else ({}, {})
        own = msgspec.to_builtins(conducting.now)
        return Answer(
            data={
                "settings": {**settings, "authorization": own},
                "sources": {**sources, **dict.fromkeys(sorted(conducting.stored), "agent_config_set")},
            }
        )

    async def config_set(_: Fabric, caller: Caller, asked: ConfigSet) -> Answer:
        changed = await conducting.change(asked.settings, name_of(caller))
        return Answer(data={"changed": changed, "restart_required": False})

    async def system_info(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        return Answer(data=machine.about())

    async def system_metrics(_: Fabric, __: Caller, asked: MetricsAsked) -> Answer:
        now = dict(zip(machine.NAMES, context.machine.now(), strict=True))
        return Answer(
            data={"now": now, "names": machine.NAMES, "samples": context.machine.samples(asked.since, asked.step)}
        )

    async def audit_log(_: Fabric, __: Caller, asked: AuditAsked) -> Answer:
        def fits(entry: Entry) -> bool:
            return asked.action in (None, entry.action) and asked.server in (None, entry.server)

        after = asked.cursor or key_of(round((asked.since or 0) * SECOND))
        until = None if asked.until is None else round(asked.until * SECOND)
        found, cursor = await context.audit.page(
            user=asked.user, after=after, until=until, limit=asked.limit, fits=fits
        )
        rows = [{**msgspec.to_builtins(entry), "date": date_of(entry.date), "server": entry.server} for entry in found]
        return Answer(data={"entries": rows, "cursor": cursor or None})

    return [
        Action(name="list_actions", summary="All actions, their parameters, and whether you may call them",
               params=Nothing, scope=PUBLIC, run=list_actions, reads=True),
        Action(name="agent_info", summary="What this agent is", params=Nothing, scope="agent:info", run=info,
               reads=True),
        Action(name="agent_health", summary="How this agent is", params=Nothing, scope="agent:info", run=healthy,
               reads=True),
        Action(name="agent_config", summary="The settings, without secrets, and where each comes from",
               params=Nothing, scope="agent:config", run=config, reads=True),
        Action(name="agent_config_set", summary="Change settings while the agent runs", params=ConfigSet,
               scope="agent:config_set", run=config_set),
        Action(name="system_info", summary="What this machine is", params=Nothing, scope="agent:info",
               run=system_info, reads=True),
        Action(name="system_metrics", summary="How busy this machine is, and was in the last hour",
               params=MetricsAsked, scope="agent:info", run=system_metrics, reads=True),
        Action(name="audit_log", summary="What was done here, by whom, oldest first", params=AuditAsked,
               scope="audit:list", run=audit_log, reads=True),
        *_handed(options),
    ]  # fmt: skip


def _handed(options: Options) -> list[Action]:
    """The actions that need something of the server around: those that it gave."""
    found = []
    if options.entries is not None:
        entries = options.entries

        async def log(_: Fabric, __: Caller, asked: LogAsked) -> Answer:
            rows = entries(asked.lines, asked.level, asked.before)
            return Answer(data={"entries": list(rows), "cursor": rows[0].id if rows else None})

        found.append(Action(name="agent_log", summary="The newest lines of the agent's log", params=LogAsked,
                            scope="agent:log", run=log, reads=True))  # fmt: skip
    if options.reload is not None:
        reload = options.reload

        async def reloaded(_: Fabric, __: Caller, ___: Nothing) -> Answer:
            reload()
            return Answer(data={"accepted": True})

        found.append(Action(name="agent_reload", summary="Read the certificate anew", params=Nothing,
                            scope="agent:reload", run=reloaded))  # fmt: skip
    if options.shutdown is not None:
        shutdown = options.shutdown

        async def stopped(_: Fabric, __: Caller, asked: Shutdown) -> Answer:
            shutdown(asked.stop_servers)
            return Answer(data={"accepted": True})

        found.append(Action(name="agent_shutdown", summary="Stop this agent", params=Shutdown,
                            scope="agent:shutdown", run=stopped))  # fmt: skip
    return found

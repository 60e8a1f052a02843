"""The Console as one application: its routes, who gets in, and the look after what nobody watches."""

from pathlib import Path

from treadle.core.access import PUBLIC
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.faces.console import commands, wire
from treadle.faces.console.access_log import AccessLog
from treadle.faces.console.browsing import Browsing
from treadle.faces.console.errors import Failure, spell
from treadle.faces.console.gate import FACE, Gate
from treadle.faces.console.options import Options
from treadle.faces.console.pages import page_routes
from treadle.faces.console.paths import Roots
from treadle.faces.console.picking import Picking
from treadle.faces.console.running import Running
from treadle.faces.console.sessions import Sessions
from treadle.faces.console.stream import Streams
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.log import Log
from treadle.web.openapi import BEARER, Spec
from treadle.web.routes import Route

NAME = FACE
BODY_LIMIT = 1024 * 1024
HEALTH = "/api/health"
_ABOUT = "Files to browse, one program to run on them, and its terminal as a stream of HTML."


class Console(App):
    """The application; `run` it beside its listener."""

    sessions: Sessions

    async def run(self) -> None:
        """Ends runs that nobody watches any more; until cancelled."""
        await self.sessions.run()


def make(fabric: Fabric, options: Options, log: Log) -> Console:
    """The application that speaks the Console's API.

    Raises ValueError for settings that cannot be meant as they are, and OSError where a file that they name fails.
    """
    commands.check(options.command)
    roots = Roots(options.roots)
    access_log = _access_log(options.folder, log)
    gate = Gate(fabric, options.gate, log, access_log)
    sessions = Sessions(
        fabric,
        log,
        most=options.most_runs,
        detached_seconds=options.detached_seconds,
        kill_seconds=options.kill_seconds,
    )
    streams = Streams(fabric, sessions)

    async def health(_: Call) -> Reply:
        now = fabric.clock() // SECOND
        return json_reply(wire.Health("healthy", True, now, options.version, sessions.live))

    def done(call: Call, status: int, _: float) -> None:
        if access_log is not None and call.path != HEALTH:
            access_log.note(
                endpoint=call.path,
                method=call.method,
                remote_address=call.client,
                user=call.principal.name,
                status=status,
                headers=call.header_list,
                now=fabric.clock(),
                denied=gate.turned_away(call, status),
            )

    app = Console(
        name=NAME,
        routes=[
            Route(method="GET", path=HEALTH, handler=health, scope=PUBLIC, reply=wire.Health, counted=False,
                  summary="Whether the server answers", tag="Server"),
            *gate.routes(),
            *Browsing(roots).routes(),
            *Running(fabric, options, roots, sessions, streams).routes(),
            *Picking(options.arguments).routes(),
            *page_routes(gate),
        ],
        spell=spell,
        authenticate=gate.authenticate,
        admission=gate.admission,
        log=log,
        correlate=fabric.ids,
        on_done=done,
        body_limit=BODY_LIMIT,
        spec=Spec(
            title="Console",
            version=options.version,
            error=Failure,
            description=_ABOUT,
            optional=not (options.gate.token or options.gate.has_user or options.gate.auth == "required"),
            security={
                "bearer": BEARER,
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session"},
            },
        ),
        docs="/docs",
    )  # fmt: skip
    app.sessions = sessions
    streams.stopping = app.stopping
    return app


def _access_log(folder: Path | None, log: Log) -> AccessLog | None:
    if folder is None:
        return None
    return AccessLog(folder, lambda error: log.warning("the access log cannot be written", reason=str(error)))

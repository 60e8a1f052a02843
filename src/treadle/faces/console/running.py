"""Run something, type into it, end it, see what runs and watch it (contract 2.4 to 2.6 and 5.4 to 5.7)."""

import asyncio
import re
from weakref import WeakValueDictionary

from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, Fault, Invalid, Malformed, NotFound, Unreachable, WrongState
from treadle.core.fabric import Fabric
from treadle.core.runs import Command, ending
from treadle.core.tasks import FINAL
from treadle.faces.console import wire
from treadle.faces.console.commands import command_of, masked, split
from treadle.faces.console.errors import NotReading
from treadle.faces.console.gate import USE
from treadle.faces.console.options import Options
from treadle.faces.console.paths import Roots
from treadle.faces.console.sessions import ORDER_POLL, PATIENCE, Session, Sessions, acting
from treadle.faces.console.stream import Streams
from treadle.web.call import Call, Reply, json_reply
from treadle.web.refusals import TooLarge
from treadle.web.routes import Route

LONGEST_INPUT = 64 * 1024
"""Bytes that can be typed at once."""
END_OF_FILE = "\x04"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


class Running:
    """Handlers. What can be refused is refused before a stream begins."""

    def __init__(self, fabric: Fabric, options: Options, roots: Roots, sessions: Sessions, streams: Streams) -> None:
        self._fabric, self._options, self._roots = fabric, options, roots
        self._sessions, self._streams = sessions, streams
        self._typing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/api/execute", handler=self.execute, scope=USE, body=wire.Execute,
                  errors=(400, 403, 404, 409, 429, 503), summary="Run something, and watch it", tag="Runs",
                  media_type="text/event-stream",
                  description="Each line `data: ` holds one JSON message: `system` first, then `html` to append and "
                              "`html_full` in place of all before, at last `exit`. Paths in `args` are not confined "
                              "to the roots: what runs may reach whatever the server's user may."),
            Route(method="POST", path="/api/input", handler=self.input, scope=USE, body=wire.Input, reply=wire.Done,
                  errors=(400, 404, 409, 413), summary="Type into a run", tag="Runs"),
            Route(method="POST", path="/api/kill", handler=self.kill, scope=USE, body=wire.Kill, reply=wire.Done,
                  errors=(400, 404), summary="End a run; the second time at once", tag="Runs"),
            Route(method="GET", path="/api/sessions", handler=self.list, scope=USE, reply=wire.Sessions, tag="Runs",
                  summary="What runs, and what has run in the last hour"),
            Route(method="GET", path="/api/sessions/{session}/stream", handler=self.watch, scope=USE, errors=(404,),
                  media_type="text/event-stream", tag="Runs", summary="Watch a run: the display as it is, and on"),
        ]  # fmt: skip

    async def execute(self, call: Call) -> Reply:
        asked: wire.Execute = call.body
        id = self._fabric.ids() if asked.session_id is None else _session_id(asked.session_id)
        words = split(asked.args or "")
        path, command = await asyncio.to_thread(self._command, asked.path, words)
        session = await self._sessions.reserve(
            Session(
                id=id,
                user=call.principal.name,
                path=path,
                argv=masked(command.argv),
                started=self._fabric.clock(),
                columns=self._options.columns,
                rows=self._options.rows,
            )
        )
        try:
            task = await self._fabric.runs.start(
                command, by=acting(call.principal.name), on=self._node(), name=f"console {id}"
            )
        except BaseException as error:
            await self._sessions.drop(session)
            if isinstance(error, NotFound):
                raise _no_node() from error
            raise
        return self._streams.reply(await self._sessions.began(session, task))

    def _node(self) -> str:
        node = self._options.node()
        if node is None:
            raise _no_node()
        return node

    def _command(self, path: str, words: list[str]) -> tuple[str, Command]:
        with self._roots.open(path) as place:
            if not (place.is_folder or place.is_file):
                raise Malformed("The path is neither a file nor a folder")
            return place.path, command_of(self._options, place, words)

    async def input(self, call: Call) -> Reply:
        asked: wire.Input = call.body
        text = asked.input if asked.raw or asked.input.endswith("\n") else asked.input + "\n"
        if len(text) > LONGEST_INPUT or len(text.encode()) > LONGEST_INPUT:
            raise TooLarge(f"The input is larger than {LONGEST_INPUT} bytes")
        session = await self._find(call, asked.session_id)
        if (await self._fabric.runs.get(session.task)).state in FINAL:
            raise NotFound("Session", session.id)
        lock = self._typing.setdefault(session.key, asyncio.Lock())
        async with lock:  # whoever came first is heard first
            await self._type(session, text, raw=asked.raw)
        return json_reply(wire.Done())

    async def _type(self, session: Session, text: str, *, raw: bool) -> None:
        """Hand the text to the run; one that is about to begin is waited for, for a moment."""
        end = raw and not self._options.pty and text.endswith(END_OF_FILE)  # a terminal understands the key itself
        data = text.removesuffix(END_OF_FILE).encode() if end else text.encode()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                taken = await self._fabric.runs.input(session.task, data, eof=end)
            except WrongState:
                over = (await self._fabric.runs.get(session.task)).state in FINAL
                if over or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(ORDER_POLL)
            except Conflict as error:
                raise NotReading from error
            else:
                if not taken:
                    raise NotReading
                return

    async def kill(self, call: Call) -> Reply:
        session = await self._find(call, call.body.session_id)
        await self._sessions.kill(session, call.principal.name)
        return json_reply(wire.Done(message="The run is being ended"))

    async def list(self, call: Call) -> Reply:
        shown = []
        for session, task in await self._sessions.listed(call.principal):
            how = ending(task)
            shown.append(
                wire.Session(
                    session_id=session.id,
                    user=session.user,
                    path=session.path,
                    argv=session.argv,
                    started=session.started // SECOND,
                    running=task.state not in FINAL,
                    watched=self._sessions.is_watched(session),
                    code=how.code if how else None,
                    signal=how.signal if how else None,
                    reason=how.reason if how else None,
                )
            )
        return json_reply(wire.Sessions(True, call.principal.name, len(shown), shown))

    async def watch(self, call: Call) -> Reply:
        return self._streams.reply(await self._find(call, call.params["session"]), late=True)

    async def _find(self, call: Call, id: str) -> Session:
        return await self._sessions.find(call.principal, _session_id(id))


def _no_node() -> Unreachable:
    return Unreachable("No node of this server can run it now: start it with `treadle up`, or wait until it is ready")


def _session_id(text: str) -> str:
    if not _ID.match(text):
        raise Invalid(Fault("session_id", "must be 1 to 128 letters, digits, dots, hyphens, underscores or colons"))
    return text

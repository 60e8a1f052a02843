"""What happens in a session, as server-sent events: every line that its task prints is one, and the result is the last.

The `id:` of an event is the offset behind its line, so a reader that comes back with it misses nothing.
"""

from collections.abc import AsyncIterator

from treadle.core.errors import Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.tasks import FINAL
from treadle.faces.ufo import wire
from treadle.faces.ufo.dispatching import Dispatching
from treadle.faces.ufo.results import shown
from treadle.web.call import Call, Reply
from treadle.web.sse import event, event_reply, json_event

LAST_SEEN = "last-event-id"
LONGEST_LINE = 8 * 1024 * 1024
"""A line longer than this is passed on in parts; no line of ours is."""


class Events:
    """The route's handler."""

    def __init__(self, fabric: Fabric, dispatching: Dispatching) -> None:
        self._fabric, self._dispatching = fabric, dispatching

    async def show(self, call: Call) -> Reply:
        """Raises NotFound for an unknown session."""
        asked: wire.EventsQuery = call.query
        session_id = call.params["session_id"]
        task = await self._dispatching.session(session_id)
        if task is None:
            raise NotFound("Session", session_id)
        return event_reply(self._events(task.id, _last_seen(call) or asked.after))

    async def _events(self, task: str, after: int) -> AsyncIterator[bytes]:
        """Ends when the session has, and everything it printed was said."""
        begun = b""
        at = after
        try:
            async for chunk in self._fabric.output.follow(task, after):
                if chunk.at > at:
                    begun = b""  # the rest of that line is lost
                    yield json_event(wire.Gap(at, chunk.at), id=str(chunk.at), name="gap")
                at = chunk.end
                lines = (begun + chunk.data).split(b"\n")
                begun = lines.pop()
                spoken = at - len(begun) - sum(len(line) + 1 for line in lines)
                told = []
                for line in lines:
                    spoken += len(line) + 1
                    if line:
                        told.append(event(line.decode("utf-8", "replace"), id=str(spoken)))
                if told:
                    yield b"".join(told)
                if len(begun) > LONGEST_LINE:
                    begun = b""
            ended = await self._fabric.tasks.get(task)
        except NotFound:  # removed while we read it: who comes back is told so
            return
        if ended.state in FINAL:
            result = wire.TaskResult("done", shown(ended) or {})
            yield json_event(result, id=str(at - len(begun)), name="end")


def _last_seen(call: Call) -> int | None:
    given = call.header(LAST_SEEN)
    if given is None or given == "":
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise Invalid(Fault(LAST_SEEN, "must be the id of an event", given))
    return int(given)

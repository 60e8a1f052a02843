"""A device's part in the conversation with its server, without any socket: a frame goes in, what to do comes out.

A COMMAND is known by its session and response id. One that comes again, because the server did not hear the answer,
is not run again. Commands of one session are run in the order in which they came.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from .frames import ClientFrame, Command, Result, ServerFrame

Key = tuple[str, str]
"""What an answer belongs to: a session and, within it, a command's response id or the session's own `task_end`."""
ENDING = "task_end"
REMEMBERED = 4096
"""How many commands are known again."""


class Say(Struct, frozen=True):
    """Send this; if it cannot be sent now it need not be."""

    frame: ClientFrame


class Run(Struct, frozen=True):
    """Run these calls, in order, after those of the session that came before."""

    key: Key
    calls: tuple[Command, ...]
    frame: ServerFrame


class Repeat(Struct, frozen=True):
    """Send the answer to this command again."""

    key: Key


class Execute(Struct, frozen=True):
    """Carry out a whole request."""

    key: Key
    request: str
    task_name: str


class CallOff(Struct, frozen=True):
    """End whatever still runs for this session."""

    session: str


class Note(Struct, frozen=True):
    """Tell the log."""

    fact: str
    detail: str = ""


Effect = Say | Run | Repeat | Execute | CallOff | Note


class Dialogue:
    """The conversation of one device, across all its connections. `stamp` gives the time (ISO 8601), `new_id` an id."""

    def __init__(
        self,
        client_id: str,
        metadata: dict[str, Any],
        *,
        executes: bool,
        stamp: Callable[[], str],
        new_id: Callable[[], str],
    ) -> None:
        self.client_id = client_id
        self._metadata, self._executes = metadata, executes
        self._stamp, self._new_id = stamp, new_id
        self._working: set[Key] = set()
        self._done: dict[Key, None] = {}  # as a set that knows its order

    def registration(self, system_info: dict[str, Any]) -> ClientFrame:
        """The first frame of every connection (spec 5.1)."""
        now = self._stamp()
        metadata = {**self._metadata, "registration_time": now, "system_info": system_info}
        if self._executes:
            metadata["executes_requests"] = True
        return ClientFrame("register", client_id=self.client_id, timestamp=now, metadata=metadata)

    def heartbeat(self) -> ClientFrame:
        """A sign of life (spec 6.1)."""
        return ClientFrame("heartbeat", client_id=self.client_id, timestamp=self._stamp())

    def received(self, frame: ServerFrame) -> list[Effect]:
        """What a frame of the server calls for."""
        match frame.type:
            case "task":
                return self._task(frame)
            case "command":
                return self._command(frame)
            case "task_end":
                return self._ended(frame)
            case "error":
                return [Note("the server reports an error", frame.error or "")]
            case _:
                return []

    def answered(self, run: Run, results: Sequence[Result]) -> ClientFrame:
        """A command was run: its answer."""
        self._finish(run.key)
        frame = run.frame
        return ClientFrame(
            "command_results",
            status=frame.status,
            client_id=self.client_id,
            session_id=frame.session_id,
            task_name=frame.task_name,
            action_results=list(results),
            request_id=self._new_id(),
            prev_response_id=frame.response_id,
            timestamp=self._stamp(),
        )

    def carried_out(self, execution: Execute, result: dict[str, Any], error: str | None) -> ClientFrame:
        """A whole request was carried out, or failed with `error`: how it ended (spec 8.5, `relay`)."""
        self._finish(execution.key)
        return ClientFrame(
            "task_end",
            status="completed" if error is None else "failed",
            client_id=self.client_id,
            session_id=execution.key[0],
            task_name=execution.task_name,
            request_id=self._new_id(),
            timestamp=self._stamp(),
            error=error,
            metadata={"result": result},
            result=result,
        )

    def recall(self, keys: Sequence[Key]) -> None:
        """These were answered in an earlier life of the device."""
        for key in keys:
            self._finish(key)

    def called_off(self, key: Key) -> None:
        """What was begun has been ended without an answer."""
        self._finish(key)

    def _task(self, frame: ServerFrame) -> list[Effect]:
        """The stock device's echo, which has no session id (spec 5.3); what is asked is for us only if we execute."""
        name, request = frame.task_name or "", frame.user_request or ""
        echo = ClientFrame(
            "task",
            status="continue",
            client_id=self.client_id,
            task_name=name,
            request=request,
            request_id=self._new_id(),
            timestamp=self._stamp(),
            metadata=self._metadata,
        )
        effects: list[Effect] = [Say(echo)]
        if self._executes and frame.session_id is not None:
            key = (frame.session_id, ENDING)
            if key in self._done:
                effects.append(Repeat(key))
            elif key not in self._working:
                self._working.add(key)
                effects.append(Execute(key, request, name))
        return effects

    def _command(self, frame: ServerFrame) -> list[Effect]:
        calls = tuple(frame.actions or ())
        if frame.response_id is None:  # its results could not be told from others', so nothing of it may be repeated
            key = (frame.session_id or "", f"unnamed-{self._new_id()}")
        else:
            key = (frame.session_id or "", f"r-{frame.response_id}")
        if key in self._working:
            return [Note("a command came again while it runs", key[1])]
        if key in self._done:
            return [Repeat(key)]
        self._working.add(key)
        execution = (key[0], ENDING)
        if execution not in self._working:
            return [Run(key, calls, frame)]
        # the server has chosen to carry out this request by itself, command by command
        self._finish(execution)
        return [
            Note("the server carries this request out itself", frame.task_name or ""),
            CallOff(key[0]),
            Run(key, calls, frame),
        ]

    def _ended(self, frame: ServerFrame) -> list[Effect]:
        return [CallOff(frame.session_id)] if frame.session_id is not None else []

    def _finish(self, key: Key) -> None:
        self._working.discard(key)
        self._done[key] = None
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]

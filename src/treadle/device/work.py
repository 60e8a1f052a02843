"""What a device works on: the commands of one session in their order, those of different sessions at the same time."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec.structs import replace

from treadle.core import runs

from .dialogue import Dialogue, Execute, Key, Run
from .frames import MOST, ClientFrame, Command, Result, encode
from .tools.commands import Commands
from .tools.toolbox import Toolbox

log = logging.getLogger("treadle.device")

ROOM = 64 * 1024
"""Bytes that a frame needs besides its results."""
EXECUTOR_GRACE = 5.0


class Work:
    """Runs what the dialogue asks for; `answer(key, frame)` gets each outcome, also while there is no connection."""

    def __init__(
        self,
        dialogue: Dialogue,
        toolbox: Toolbox,
        commands: Commands,
        executor: Sequence[str],
        answer: Callable[[Key, bytes], Coroutine[Any, Any, None]],
    ) -> None:
        self._dialogue, self._toolbox, self._commands = dialogue, toolbox, commands
        self._executor, self._answer = tuple(executor), answer
        self._sessions: dict[str, list[asyncio.Task[None]]] = {}

    def run(self, run: Run) -> None:
        """Begin with a command as soon as those before it in its session are done."""
        session = run.key[0]
        before = self._sessions.get(session, [])
        last = next((task for task in reversed(before) if task.get_name() == "command"), None)
        self._begin(session, self._run(run, last), run.key, "command")

    def execute(self, execution: Execute) -> None:
        """Hand a whole request to the executor."""
        self._begin(execution.key[0], self._execute(execution), execution.key, "execution")

    def call_off(self, session: str) -> None:
        """End what runs for a session; nobody waits for its answers."""
        for task in self._sessions.get(session, []):
            task.cancel()

    async def stop(self) -> None:
        """End everything, and wait until nothing is left of it."""
        tasks = [task for each in self._sessions.values() for task in each]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, session: str, work: Coroutine[Any, Any, None], key: Key, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._sessions.setdefault(session, []).append(task)
        task.add_done_callback(lambda done: self._ended(session, key, done))

    def _ended(self, session: str, key: Key, done: "asyncio.Task[None]") -> None:
        running = self._sessions[session]
        running.remove(done)
        if not running:
            del self._sessions[session]
        if done.cancelled():
            self._dialogue.called_off(key)
        elif (error := done.exception()) is not None:
            self._dialogue.called_off(key)
            log.error("a command could not be answered", exc_info=error)

    async def _run(self, run: Run, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait((before,))
        results: list[Result] = []
        failed = False
        for call in run.calls:
            if failed:  # as the stock device does (spec 5.5)
                results.append(Result("skipped", error="an earlier call failed", call_id=call.call_id))
                continue
            results.append(await self._call(call))
            failed = results[-1].status != "success"
        frame = _encoded(self._dialogue.answered(run, results), results)
        await self._answer(run.key, frame)

    async def _call(self, call: Command) -> Result:
        try:
            return await self._toolbox.call(call)
        except Exception as error:
            log.exception("tool %s failed", call.tool_name)
            return Result("failure", error=f"{type(error).__name__}: {error}", call_id=call.call_id)

    async def _execute(self, execution: Execute) -> None:
        command = runs.Command(
            argv=self._executor,
            env={"TREADLE_SESSION_ID": execution.key[0], "TREADLE_TASK_NAME": execution.task_name},
            grace=EXECUTOR_GRACE,
        )
        why: str | None = None
        outcome: dict[str, Any]
        try:
            ran = await self._commands.run(command, stdin=execution.request.encode())
        except (OSError, ValueError) as error:
            why, outcome = f"the executor could not be started: {error}", {"output": None}
        else:
            said = ran.stderr.data.decode("utf-8", "replace").strip()
            outcome = _outcome(ran.stdout.data.decode("utf-8", "replace"))
            outcome.setdefault("exit_code", ran.ending.code)
            if not ran.ending.ok:
                why = said[-2000:] or ran.ending.told()
        await self._answer(execution.key, encode(self._dialogue.carried_out(execution, outcome, why)))


def _outcome(printed: str) -> dict[str, Any]:
    """What an executor printed: its own object, or its text as `output`."""
    try:
        found = json.loads(printed)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"output": printed}


def _encoded(frame: ClientFrame, results: Sequence[Result]) -> bytes:
    """The answer as it is sent. Results that cannot be sent are failures, and say why."""
    why = "the result is no text that JSON can carry"
    try:
        whole = encode(frame)
        if len(whole) <= MOST - ROOM:
            return whole
        why = f"the results are {len(whole)} bytes long, more than a message may hold"
    except (UnicodeError, TypeError, ValueError) as error:
        why = f"the result cannot be sent: {error}"
    short = [Result("failure", error=why, namespace=result.namespace, call_id=result.call_id) for result in results]
    return encode(replace(frame, action_results=short))

"""A session is one task's dialogue with the device that carries it out: TASK and its echo, commands and their results,
and the end told to both ends (spec 5.3 to 5.5, 8.1).

    assigned ── echo ──▶ accepted ──▶ running ──▶ completed
        │                                ├──▶ failed (runner, limits)
        └── nobody took it ──▶ failed    └──▶ failed (device or requester gone, stopped)
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct, ValidationError, convert

from treadle.core.ids import Ids
from treadle.faces.ufo.aip import FRAME_LIMIT, encode
from treadle.faces.ufo.connection import Answered, EndTold, TaskAsked, Troubled
from treadle.faces.ufo.frames import Command, Result, ServerFrame
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Connection
from treadle.faces.ufo.running import (
    CommandFailed,
    CommandTimeout,
    DeviceGone,
    Kind,
    Outcome,
    SessionError,
    SessionRunner,
    TaskSpec,
    Tool,
    ToolCall,
    ToolResult,
    agent_of,
    executes_requests,
)

CLEAN_UP_SECONDS = 2.0
"""How long a cancelled runner may take to end."""


class DeviceSession:
    """The dialogue; to its runner it is the device (`DeviceIO`, `Handing`)."""

    deadline: float = 0.0

    def __init__(
        self,
        device: Connection,
        spec: TaskSpec,
        *,
        ids: Ids,
        note: Callable[[dict[str, Any]], Awaitable[None]],
        limits: Limits,
        requester: Connection | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.device, self.spec, self.requester = device, spec, requester
        self._ids, self._note, self._limits = ids, note, limits
        self._assigned = False
        self._echo: asyncio.Future[None] | None = None
        self._told_end: asyncio.Future[Outcome] | None = None
        self._commands: dict[str, asyncio.Future[list[Result]]] = {}
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._device_left = False
        self._interrupted = False
        """It left in the middle of a command."""
        self.not_taken = False
        """The assignment was given up before the device had taken it; its echo may still come."""

    # its life

    async def run(self, runner: SessionRunner, *, assign: bool) -> Outcome:
        """The dialogue from beginning to end; `assign` sends the TASK that a device answers with its echo.

        Raises nothing but what the runner broke with, as it is, after the device was let go.
        """
        self.deadline = self._loop.time() + self._limits.session
        try:
            if assign and not executes_requests(
                self.spec.metadata
            ):  # who executes it begins at the TASK: see hand_over
                await self._assign()
        except SessionError as error:
            return Outcome(False, error=str(error))
        running = self._loop.create_task(_started(runner, self.spec, self))
        try:
            left = max(0.0, self.deadline - self._loop.time())
            await asyncio.wait((running, self._over), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not self._over.done():
                self.stop(f"The session was not over after {self._limits.session:g} s")
            if self._interrupted:
                # its calls have just failed, so it comes to an end of its own, with what it has done so far
                await asyncio.wait({running}, timeout=CLEAN_UP_SECONDS)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running}, timeout=CLEAN_UP_SECONDS)
        if self._over.done():
            so_far = running.result() if _ended_well(running) else Outcome(False)
            return Outcome(False, so_far.output, self._over.result(), so_far.rounds, so_far.usage)
        failure = SessionError("The runner gave up") if running.cancelled() else running.exception()
        if isinstance(failure, SessionError):
            return Outcome(False, error=str(failure))
        if failure is not None:
            raise failure
        return running.result()

    def stop(self, reason: str) -> None:
        """Ends the dialogue with a failure; the first reason counts."""
        if not self._over.done():
            self._over.set_result(reason)

    def device_left(self) -> None:
        """The device is gone, and what it was asked will not be answered."""
        self._device_left = True
        self._interrupted = bool(self._commands)
        reason = f"Target device {self.device.client_id} disconnected"
        for waiting in (*self._commands.values(), self._echo, self._told_end):
            if waiting is not None and not waiting.done():
                waiting.set_exception(DeviceGone(reason))
                waiting.exception()  # whoever waits hears it; where nobody does, that is no fault
        self.stop(reason)

    def tell(self, outcome: Outcome, response_id: str, at: str) -> None:
        """TASK_END, the same to the device and to whoever asked."""
        end = ServerFrame(
            type="task_end",
            status="completed" if outcome.ok else "failed",
            session_id=self.spec.session_id,
            task_name=self.spec.task_name,
            response_id=response_id,
            timestamp=at,
            error=outcome.error,
            result=outcome.rounds,
        )
        text = encode(end)
        if len(text) > FRAME_LIMIT:
            short = f"The result has {len(text)} bytes, more than a message may have"
            text = encode(ServerFrame(type="task_end", status=end.status, session_id=end.session_id, error=short))
        self.device.send_text(text)
        if self.requester is not None and self.requester is not self.device:
            self.requester.send_text(text)

    # what the device says

    def echoes(self, asked: TaskAsked) -> bool:
        """Whether this is the echo of the assignment; if so, the device has taken the task (5.3)."""
        if self._echo is None or self._echo.done() or self.not_taken or asked.task_name != self.spec.task_name:
            return False
        if asked.session_id not in (None, self.spec.session_id):
            return False
        self._echo.set_result(None)
        self.device.send(ServerFrame(type="heartbeat", status="ok", session_id=self.spec.session_id))
        return True

    def answered(self, answer: Answered) -> None:
        """Results of a command that is waited for; all others are dropped without a word (5.5)."""
        waiting = self._waiting(answer.session_id, answer.response_id)
        if waiting is not None:
            waiting.set_result(answer.results)

    def troubled(self, trouble: Troubled) -> None:
        """The device cannot carry out a command."""
        waiting = self._waiting(trouble.session_id, trouble.response_id)
        if waiting is not None:
            waiting.set_exception(CommandFailed(f"The device answered with an error: {trouble.error}"))

    def _waiting(self, session_id: str | None, response_id: str | None) -> "asyncio.Future[list[Result]] | None":
        found = self._commands.get(response_id or "")
        mine = session_id in (None, self.spec.session_id)
        return found if found is not None and mine and not found.done() else None

    def ended_by_device(self, told: EndTold) -> bool:
        """A device that carries out requests by itself says how one ended; whether that was this one."""
        frame = told.frame
        end = self._told_end
        if end is None or end.done() or frame.session_id not in (None, self.spec.session_id):
            return False
        if frame.session_id is None and frame.task_name != self.spec.task_name:
            return False
        ok = frame.status in ("completed", "ok")
        output = frame.result if frame.result is not None else (frame.metadata or {}).get("result")
        if output is None and frame.action_results is not None:
            output = [result.result for result in frame.action_results]
        end.set_result(Outcome(ok, output, None if ok else frame.error or "The device did not say why it failed"))
        if self._echo is not None and not self._echo.done():
            self._echo.set_result(None)
        return True

    # what the runner asks for

    async def call(self, calls: list[ToolCall], *, agent: str, process: str = "", root: str = "") -> list[ToolResult]:
        """See `DeviceIO`."""
        if not calls:
            return []
        self._must_go_on()
        response_id = self._ids()
        commands = [
            Command(tool_name=call.name, tool_type=call.kind, parameters=call.args, call_id=self._ids())
            for call in calls
        ]
        text = encode(
            ServerFrame(
                type="command",
                status="continue",
                agent_name=agent,
                process_name=process,
                root_name=root,
                actions=commands,
                session_id=self.spec.session_id,
                task_name=self.spec.task_name,
                response_id=response_id,
            )
        )
        if len(text) > FRAME_LIMIT:
            raise CommandFailed(f"A command of {len(text)} bytes is more than a message may have")
        named = [{"call_id": command.call_id, "tool": command.tool_name} for command in commands]
        await self._note({"event": "command", "response_id": response_id, "agent": agent, "calls": named})
        results = _aligned(commands, await self._ask(response_id, text))
        short = [{"call_id": result.call_id, "status": result.status} for result in results]  # errors quote arguments
        await self._note({"event": "results", "response_id": response_id, "results": short})
        return results

    async def _ask(self, response_id: str, text: str) -> list[Result]:
        self._must_go_on()
        answer: asyncio.Future[list[Result]] = self._loop.create_future()
        self._commands[response_id] = answer
        self.device.send_text(text)
        try:
            async with asyncio.timeout(self._limits.command):
                return await answer
        except TimeoutError:
            raise CommandTimeout(f"The device did not answer a command within {self._limits.command:g} s") from None
        finally:
            del self._commands[response_id]

    async def list_tools(self, kind: str | None = None) -> list[Tool]:
        """See `DeviceIO`."""
        asked = {"tool_type": kind} if kind else {}
        agent = agent_of(self.spec.platform)
        [found] = await self.call([ToolCall("list_tools", asked)], agent=agent)
        if not found.ok or not isinstance(found.result, list):
            raise CommandFailed(f"The device does not list its tools: {found.error or found.status}")
        tools = [_tool(described) for described in found.result]
        return [tool for tool in tools if tool is not None and kind in (None, tool.kind)]

    async def progress(self, fact: dict[str, Any]) -> None:
        """See `DeviceIO`."""
        await self._note(fact)

    async def hand_over(self) -> Outcome:
        """See `Handing`."""
        self._must_go_on()
        if not self._assigned:
            await self._assign()
        assert self._told_end is not None  # made with the assignment
        return await self._told_end

    async def _assign(self) -> None:
        """Sends the TASK and waits until the device has taken it."""
        self._must_go_on()
        self._assigned = True
        self._echo, self._told_end = self._loop.create_future(), self._loop.create_future()
        self.device.send(
            ServerFrame(
                type="task",
                status="continue",
                user_request=self.spec.request,
                task_name=self.spec.task_name,
                session_id=self.spec.session_id,
                response_id=self._ids(),
            )
        )
        await asyncio.wait((self._echo, self._over), timeout=self._limits.accept, return_when=asyncio.FIRST_COMPLETED)
        self.not_taken = not self._echo.done()
        self._must_go_on()
        if self.not_taken:
            self._echo.cancel()
            told = f"Client {self.device.client_id} did not take the task within {self._limits.accept:g} s"
            raise CommandTimeout(told)

    def _must_go_on(self) -> None:
        if self._device_left or self.device.gone:
            raise DeviceGone(f"Target device {self.device.client_id} disconnected")
        if self._over.done():
            raise SessionError(self._over.result())


def with_rounds(spec: TaskSpec, outcome: Outcome) -> Outcome:
    """The outcome with an error if it failed, and with the rounds that constellations expect (spec 10)."""
    told = outcome.error if outcome.ok else outcome.error or "The session failed without saying why"
    last: dict[str, Any] = {"request": spec.request, "result": outcome.output}
    if not outcome.ok:
        last["error"] = told
    return Outcome(outcome.ok, outcome.output, told, outcome.rounds or [last], outcome.usage)


async def _started(runner: SessionRunner, spec: TaskSpec, io: DeviceSession) -> Outcome:
    return await runner.run(spec, io)


def _ended_well(running: "asyncio.Task[Outcome]") -> bool:
    return running.done() and not running.cancelled() and running.exception() is None


def _aligned(commands: list[Command], results: list[Result]) -> list[ToolResult]:
    """One result for each command: that with its call id, else the one at its place (spec 5.5)."""
    asked = {command.call_id for command in commands}
    named = {result.call_id: result for result in results if result.call_id in asked}
    aligned = []
    for place, command in enumerate(commands):
        found = named.get(command.call_id)
        if found is None and place < len(results) and results[place].call_id not in asked:
            found = results[place]
        if found is None:
            aligned.append(ToolResult("none", error="The device gave no result", call_id=command.call_id))
        else:
            aligned.append(ToolResult(found.status, found.result, found.error, found.namespace, command.call_id))
    return aligned


class _Described(Struct):
    """A tool as a device describes it (spec 4.4)."""

    tool_name: str
    tool_type: Kind = "action"
    namespace: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


def _tool(described: object) -> Tool | None:
    """The tool, or None for what is no description of one."""
    try:
        read = convert(described, _Described)
    except ValidationError:
        return None
    return Tool(read.tool_name, read.tool_type, read.namespace or "", read.description or "", read.input_schema or {})

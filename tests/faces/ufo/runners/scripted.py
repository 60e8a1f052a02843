"""A scripted device and a scripted OpenAI-compatible endpoint: a real HTTP server that answers in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from treadle.faces.ufo.running import Outcome, TaskSpec, Tool, ToolCall, ToolResult

COMMAND = Tool(
    "execute_command",
    description="Runs a command.",
    input_schema={
        "type": "object",
        "properties": {"command": {"type": "string"}, "api_key": {"type": "string"}, "timeout": {"type": "integer"}},
        "required": ["command", "api_key"],
    },
)
SECRET = "sesame-4711"
INJECT = {"execute_command": {"api_key": "env:DEVICE_KEY"}}
ENVIRONMENT = {"DEVICE_KEY": SECRET, "MODEL_KEY": "mk-0815-top"}


def ran(stdout: str = "", code: int = 0, stderr: str = "") -> ToolResult:
    """What a stock command tool answers."""
    return ToolResult("success", {"success": code == 0, "exit_code": code, "stdout": stdout, "stderr": stderr})


def task(request: str, *, platform: str = "linux", **more: Any) -> TaskSpec:
    return TaskSpec(session_id="s1", task_name="t1", request=request, client_id="d1", platform=platform, **more)


class Device:
    """Answers calls with what `answer` says, and keeps what it was asked and told."""

    def __init__(
        self,
        answer: Callable[[ToolCall], ToolResult] = lambda call: ran(f"did {call.args.get('command')}\n"),
        tools: tuple[Tool, ...] = (COMMAND,),
        *,
        seconds: float = 50.0,
    ) -> None:
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.calls: list[ToolCall] = []
        self.agents: list[tuple[str, str]] = []
        self.facts: list[dict[str, Any]] = []
        self._answer, self._tools = answer, list(tools)

    async def call(self, calls: list[ToolCall], *, agent: str, process: str = "", root: str = "") -> list[ToolResult]:
        self.calls += calls
        self.agents += [(agent, root)] * len(calls)
        return [self._answer(call) for call in calls]

    async def list_tools(self, kind: str | None = None) -> list[Tool]:
        return [tool for tool in self._tools if kind in (None, tool.kind)]

    async def progress(self, fact: dict[str, Any]) -> None:
        json.dumps(fact)
        self.facts.append(fact)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact["event"] == name]


class OwnDevice(Device):
    """A device that carries out requests itself."""

    outcome = Outcome(ok=True, output="done by itself")

    async def hand_over(self) -> Outcome:
        return self.outcome


@dataclass
class Answer:
    """One answer of the endpoint. Without an end it is sent for ever; `first` seconds pass before it begins."""

    body: bytes | str | dict[str, Any] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    hangs: bool = False
    cut: bool = False


def says(content: Any, **more: Any) -> Answer:
    """A completion whose message has this content (an object is written as JSON)."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    reason = more.pop("finish_reason", "stop")
    return Answer({
        "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text, **more}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    })  # fmt: skip


def does(tool: str, **args: Any) -> Answer:
    """A completion that wants one action."""
    return says({"thought": f"I call {tool}", "action": {"tool": tool, "args": args}})


def finish(result: str, *, success: bool = True) -> Answer:
    return does("finish", success=success, result=result)


def calls(*wanted: tuple[str, Any]) -> Answer:
    """A completion with native tool calls; arguments that are no text are written as JSON."""
    made = [
        {"id": f"id{n}", "type": "function",
         "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)}}
        for n, (name, args) in enumerate(wanted)
    ]  # fmt: skip
    return says(None, tool_calls=made, finish_reason="tool_calls")


class Endpoint:
    """What was asked, and where."""

    def __init__(self, answers: list[Answer]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.first = asyncio.Event()
        self._answers = answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.paths.append(lines[0].split(" ")[1])
                self.headers.append(headers)
                self.asked.append(json.loads(body))
                self.first.set()
                # The last answer is given again and again.
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                await self._send(answer, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _send(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        if answer.hangs:
            await asyncio.Event().wait()
        body = json.dumps(answer.body) if isinstance(answer.body, dict) else answer.body
        data = body.encode() if isinstance(body, str) else body
        headers = {"content-type": "application/json", **answer.headers}
        if not answer.endless:
            headers["content-length"] = str(len(data) + (100 if answer.cut else 0))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode("latin-1") + data)
        await writer.drain()
        while answer.endless:
            writer.write(b" " * 65536)
            await writer.drain()
        if answer.cut:
            writer.close()


@asynccontextmanager
async def endpoint(*answers: Answer) -> AsyncIterator[Endpoint]:
    """Serves the answers on a loopback port."""
    served = Endpoint(list(answers))
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        tasks.add(me)
        with suppress(asyncio.CancelledError):  # that is how the server stops
            await served.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

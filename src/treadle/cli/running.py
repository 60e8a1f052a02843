"""A command as a worker's hand: each task is one run of it, with the task on its stdin and in its environment."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from treadle.client import Done, Fail, Task

MOST_OUTPUT = 1_000_000
"""Bytes kept of stdout and of stderr: half from the beginning, half from the end."""
MOST_ERROR = 10_000
LONGEST_VALUE, MOST_VALUES = 32_000, 256_000
"""Bytes of one variable, and of all, that go into the environment; the others are on stdin only."""
TERM_SECONDS = 5.0
EOF_SECONDS = 1.0


class Runs:
    """Runs one command for each task.

    The run has a process group of its own. When it is called off (lost lease, cancelled task, stopped worker) the whole
    group gets SIGTERM and, five seconds later, SIGKILL. What a run leaves behind in its group ends with it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def __call__(self, task: Task) -> Done:
        """Completes with stdout, or raises Fail with stderr; the exit code is among the outputs."""
        with tempfile.TemporaryFile() as stdin:  # a file: a command need not read its task, and nothing has to be fed
            stdin.write(msgspec.json.encode(task) + b"\n")
            stdin.seek(0)
            transport, run = await asyncio.get_running_loop().subprocess_exec(
                _Run, *self._command, stdin=stdin, env=environment(task, os.environ), start_new_session=True
            )
        try:
            await run.exited.wait()
            await within(EOF_SECONDS, run.silent)
        finally:
            await end(transport.get_pid(), run)
            transport.close()
        code = transport.get_returncode()
        assert code is not None
        return outcome(code, run.out.text(), run.err.text())


class _Run(asyncio.SubprocessProtocol):
    """One run: what it printed, whether the command has ended, and whether nobody can print any more."""

    def __init__(self) -> None:
        self.out, self.err = Kept(), Kept()
        self.exited, self.silent = asyncio.Event(), asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.out if fd == 1 else self.err).add(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.silent.set()


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for the event, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end(group: int, run: _Run) -> None:
    """End whatever is left of the process group; returns when the command itself is gone."""
    try:
        if not run.exited.is_set():
            tell(group, signal.SIGTERM)
            await within(TERM_SECONDS, run.exited)
    finally:
        tell(group, signal.SIGKILL)  # also the children that outlived the command
        await run.exited.wait()


def tell(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def outcome(code: int, out: str, err: str) -> Done:
    """What a finished run comes to."""
    if code == 0:
        return Done(out, {"exit_code": 0, **({"stderr": err} if err else {})})
    status = 128 - code if code < 0 else code  # as a shell says it
    how = f"The command was ended by {signal.Signals(-code).name}" if code < 0 else f"The command's exit code is {code}"
    raise Fail(err.strip()[-MOST_ERROR:] or how, outputs={"exit_code": status, "stdout": out})


def environment(task: Task, own: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and the task's id and variables; names are made fit for an environment."""
    added = {
        "TREADLE_TASK_ID": task.id,
        "TREADLE_TASK_TYPE": task.type_name or "",
        "TREADLE_TASK_PROJECT": task.project,
        "TREADLE_TASK_INSTRUCTIONS": task.instructions or "",
    }
    for name, value in task.variables.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        added["TREADLE_VAR_" + re.sub(r"[^A-Z0-9_]", "_", name.upper())] = text
    fit: dict[str, str] = {}
    room = MOST_VALUES
    for name, text in added.items():
        size = len(text.encode(errors="replace"))
        if size <= min(LONGEST_VALUE, room) and "\0" not in text:
            fit[name] = text
            room -= size
    return {**own, **fit}


class Kept:
    """The beginning and the end of a stream, and how much between them was left out."""

    def __init__(self, most: int = MOST_OUTPUT) -> None:
        self._half = most // 2
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0

    def add(self, chunk: bytes) -> None:
        room = self._half - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[max(room, 0) :]
        if len(self._tail) > 2 * self._half:
            self._cut()

    def _cut(self) -> None:
        over = len(self._tail) - self._half
        if over > 0:
            del self._tail[:over]
            self._dropped += over

    def text(self) -> str:
        """What was kept; no byte of it can upset the server."""
        self._cut()
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        kept = bytes(self._head) + gap + bytes(self._tail)
        return kept.decode(errors="replace").replace("\0", "\ufffd")

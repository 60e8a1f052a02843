"""Running commands for others: each a process of this machine under a holder, bounded in time and in what it prints."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from signal import SIGTERM
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from treadle.core.errors import Conflict, Unreachable
from treadle.core.ids import new_id
from treadle.core.runs import Command, Ending, Limits
from treadle.node.processes import Process, Processes

from .files import failed, reason
from .roots import Outside, Roots

MOST_PRINTED = 512 * 1024
"""Bytes of each stream that are handed on: its beginning and its end."""
LONGEST = 24 * 3600.0
GRACE = 2.0
GROWTH_SECONDS = 30.0


class ExecuteCommand(Struct):
    """What `execute_command` takes. Other arguments, such as the stock tool's `api_key`, are ignored."""

    command: Annotated[
        str | list[str],
        Meta(description="Text for /bin/sh, or a list: a program and its arguments, without a shell."),
    ]
    timeout: Annotated[float, Meta(description="Seconds after which it is ended.", gt=0, le=LONGEST)] = 60.0
    cwd: Annotated[str | None, Meta(description="The folder to run in, inside the device's folders.")] = None


class Printed:
    """What came out of one stream: all of it, or its first and last bytes."""

    def __init__(self, most: int) -> None:
        self.size = 0
        self._half = max(1, most // 2)
        self._head, self._tail = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half:  # not at each piece
            del self._tail[: -self._half]

    @property
    def left_out(self) -> int:
        """Bytes in the middle that are not there."""
        return max(0, self.size - 2 * self._half)

    @property
    def data(self) -> bytes:
        tail = bytes(self._tail[-self._half :])
        if not self.left_out:
            return bytes(self._head) + tail
        return bytes(self._head) + f"\n… {self.left_out} bytes left out …\n".encode() + tail


class Ran(Struct, frozen=True):
    """A command that has ended."""

    ending: Ending
    stdout: Printed
    stderr: Printed


class Commands:
    """The commands of a device. Whoever is cancelled while it waits for one ends it."""

    def __init__(self, processes: Processes, roots: Roots, env: Mapping[str, str]) -> None:
        self._processes, self._roots, self._env = processes, roots, env

    async def execute(self, asked: ExecuteCommand) -> dict[str, Any]:
        """The tool. A command that failed is told as `success: false`, with its exit code if it has one."""
        command = Command(limits=Limits(seconds=asked.timeout), grace=GRACE)
        if isinstance(asked.command, str):
            command = replace(command, shell=asked.command)
        else:
            command = replace(command, argv=tuple(asked.command))
        if not asked.command:
            return failed("there is no command")
        if any("\0" in word for word in asked.command):
            return failed("a command cannot hold a zero byte")
        try:
            with ExitStack() as held:
                if asked.cwd is not None or self._roots:
                    handle = held.enter_context(self._roots.opened(asked.cwd or "."))
                    # the holder goes where the handle is, whatever the path names by then
                    command = replace(command, cwd=f"/proc/{os.getpid()}/fd/{handle}")
                ran = await self.run(command)
        except (Outside, OSError) as error:
            return failed(reason(error, asked.cwd or "the command"))
        return told(ran)

    async def run(self, command: Command, stdin: bytes | None = None, most: int = MOST_PRINTED) -> Ran:
        """Run to the end, with this input, `most` bytes of each stream. Raises OSError when the disk takes no run."""
        process = await self._start(replace(command, stdin=stdin is not None))
        try:
            feeding = asyncio.ensure_future(_feed(process, stdin)) if stdin is not None else None
            try:
                return await _collect(process, most)
            except asyncio.CancelledError:
                await _end(process)
                raise
            finally:
                if feeding is not None:
                    feeding.cancel()
                    with suppress(asyncio.CancelledError):
                        await feeding
        finally:
            await asyncio.shield(process.forget())

    async def _start(self, command: Command) -> Process:
        starting = asyncio.ensure_future(self._processes.start(new_id(), command, {}, self._env))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with suppress(OSError):  # what could not start need not be ended
                await (await starting).forget()
            raise


def told(ran: Ran) -> dict[str, Any]:
    """A command's ending in the words of the stock tool (spec 8.4), and what was left out of its output."""
    said: dict[str, Any] = {
        "success": ran.ending.ok,
        "exit_code": ran.ending.code,
        "stdout": ran.stdout.data.decode("utf-8", "replace"),
        "stderr": ran.stderr.data.decode("utf-8", "replace"),
        "seconds": round(ran.ending.seconds, 3),
    }
    if not ran.ending.ok:
        said["error"] = ran.ending.told()
    if ran.ending.reason != "exited":
        said["reason"] = ran.ending.reason
    for name, printed in (("stdout", ran.stdout), ("stderr", ran.stderr)):
        if printed.left_out:
            said["truncated"] = True
            said[f"{name}_bytes"] = printed.size
    return said


async def _collect(process: Process, most: int) -> Ran:
    streams = {"stdout": Printed(most), "stderr": Printed(most)}
    at = 0
    while True:
        ending = process.ending
        at = max(at, process.first)
        parts = await process.read(at)
        for stream, data in parts:
            streams[stream].add(data)
            at += len(data)
        if parts:
            process.shipped(at)
            await asyncio.sleep(0)  # a command that never stops printing must not keep everybody else waiting
        elif ending is not None:
            return Ran(ending, streams["stdout"], streams["stderr"])
        else:
            await process.grew(GROWTH_SECONDS)


async def _feed(process: Process, data: bytes) -> None:
    with suppress(Conflict, Unreachable):  # a command need not read; how it ended tells
        await process.input(data, eof=True)


async def _end(process: Process) -> None:
    """Ask it to end, and give it its grace."""
    await process.signal(SIGTERM, grace=GRACE)
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE + 1):
            while process.ending is None:
                await process.grew(GRACE)

"""MCP over the standard streams of a process under a holder: what the SDK's client reads and writes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from signal import SIGKILL
from typing import Any

from mcp import types
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage

from treadle.core.errors import FabricError
from treadle.core.ids import new_id
from treadle.core.runs import Command
from treadle.node.processes import Process, Processes

log = logging.getLogger("treadle.device")

LONGEST_LINE = 64 * 1024 * 1024
LONGEST_ERROR = 2000
GROWTH_SECONDS = 30.0
GRACE = 2.0
"""Seconds that a server has to end by itself once its input is closed."""


class NotStarted(Exception):
    """The server's program could not be started: one line that says why."""


@asynccontextmanager
async def over_a_process(
    processes: Processes, command: Command, env: Mapping[str, str], name: str, over: asyncio.Event
) -> AsyncIterator[Any]:
    """The streams of a transport, as the SDK takes them. `over` is set when the process has ended.

    Raises NotStarted, and OSError when the disk takes no run. On leaving nothing of the process is left.
    """
    process = await processes.start(new_id(), command, {}, env)
    try:
        if not process.started:
            raise NotStarted(process.ending.told() if process.ending is not None else "it did not start")
        async with create_client_server_memory_streams() as (ours, theirs):
            from_us, to_us = theirs
            hearing = asyncio.create_task(_hear(process, to_us, name), name=f"{name} speaks")
            telling = asyncio.create_task(_tell(process, from_us), name=f"{name} listens")
            hearing.add_done_callback(lambda _: over.set())
            try:
                yield ours
            finally:
                await _leave(process, hearing, telling)
    finally:
        await asyncio.shield(process.forget())


async def _hear(process: Process, to_us: Any, name: str) -> None:
    """Pass on what the server says, a line a message, until it has ended; its stderr is for the log."""
    at, rest, errors, listened_to = 0, bytearray(), b"", True
    async with to_us:
        while True:
            ending = process.ending
            parts = await process.read(at)
            for stream, data in parts:
                at += len(data)
                if stream == "stderr":
                    *lines, errors = (errors + data).split(b"\n")
                    for line in lines:
                        log.info("tool server %s: %s", name, line[:LONGEST_ERROR].decode("utf-8", "replace"))
                    errors = errors[-LONGEST_ERROR:]
                    continue
                rest += data
                if b"\n" not in data:
                    continue
                *found, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                for line in found if listened_to else ():
                    try:
                        await to_us.send(_message(line))
                    except Exception:  # noqa: BLE001  (the stream's own: nobody listens, and the process is yet to end)
                        listened_to = False
            if parts:
                process.shipped(at)
            elif ending is not None:
                return
            else:
                await process.grew(GROWTH_SECONDS)
            if len(rest) > LONGEST_LINE:
                log.warning("tool server %s says too much in one line and is ended", name)
                await process.signal(SIGKILL)
                rest.clear()


async def _tell(process: Process, from_us: Any) -> None:
    """Pass on what we say. A server that does not read is ended."""
    async with from_us:
        async for said in from_us:
            line = said.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                await process.input(line)
            except FabricError as error:
                log.warning("a tool server takes no input and is ended: %s", error)
                await process.signal(SIGKILL)
                return


async def _leave(process: Process, hearing: "asyncio.Task[None]", telling: "asyncio.Task[None]") -> None:
    """The end that MCP wants: close its input and wait; what is left of it is then for `forget`."""
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    if process.ending is None:
        with suppress(FabricError):
            await process.input(b"", eof=True)
        await asyncio.wait((hearing,), timeout=GRACE)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error

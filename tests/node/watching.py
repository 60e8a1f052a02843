"""What the tests of processes share: reading a run to its end, and looking for processes that should not be there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from treadle.core.output import Part
from treadle.core.runs import Ending
from treadle.node.processes import Process

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
SECONDS = 20.0


async def parts_of(process: Process) -> tuple[list[Part], Ending]:
    """All that a run prints, shipped as it comes, and how it ended."""
    parts: list[Part] = []
    at = 0
    async with asyncio.timeout(SECONDS):
        while True:
            ending = process.ending
            found = await process.read(at)
            if found:
                parts += found
                at += sum(len(data) for _, data in found)
                process.shipped(at)
            elif ending is not None:
                return parts, ending
            else:
                await process.grew(SECONDS)


async def told(process: Process) -> tuple[str, str, Ending]:
    """Its output and errors as text, and its ending."""
    parts, ending = await parts_of(process)
    out, err = (b"".join(data for stream, data in parts if stream == which) for which in ("stdout", "stderr"))
    return out.decode(), err.decode(), ending


async def said(process: Process, words: str, at: int = 0) -> str:
    """Wait until a run has printed these words; all of its output from `at` on, nothing shipped."""
    async with asyncio.timeout(SECONDS):
        while True:
            text = b"".join(data for _, data in await process.read(at)).decode("utf-8", "replace")
            if words in text:
                return text
            assert process.ending is None, (text, process.ending)
            await process.grew(SECONDS)


def marked(mark: str) -> list[int]:
    """The living processes that carry a mark (`NAME=value`) in their environment."""
    wanted = mark.removesuffix("\0").encode() + b"\0"
    return [pid for pid in pids() if wanted in _read(Path(f"/proc/{pid}/environ")) and state_of(pid) not in "ZX"]


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def state_of(pid: int) -> str:
    line = _read(Path(f"/proc/{pid}/stat"))
    return line.rpartition(b")")[2].split()[0].decode() if line else "X"


def children_of(parent: int) -> list[int]:
    """The pids of all children of a process, zombies too."""
    found = []
    for pid in pids():
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
        if fields and int(fields[1]) == parent:
            found.append(pid)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended meanwhile


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody tells us of."""
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

"""Floods: a lot of output arrives byte for byte, slowly or at once, and never costs more memory or disk than it may."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.watching import ENV, parts_of, said, until
from treadle.core.errors import Conflict
from treadle.core.runs import Command
from treadle.node.holder.flow import AHEAD
from treadle.node.processes import Process, Processes

MB = 1024 * 1024
# Numbered lines of 16 bytes: each place in the stream has bytes of its own, so its SHA-256 is known without a copy.
COUNTING = """
import sys
out = sys.stdout.buffer
for block in range(int(sys.argv[1])):
    out.write(b''.join(b'%015d\\n' % n for n in range(block << 12, (block + 1) << 12)))
"""


def counting(megabytes: int) -> Command:
    return Command(argv=(sys.executable, "-c", COUNTING, str(megabytes * 16)))


def expected(megabytes: int) -> str:
    digest = hashlib.sha256()
    for block in range(megabytes * 16):
        digest.update(b"".join(b"%015d\n" % n for n in range(block << 12, (block + 1) << 12)))
    return digest.hexdigest()


def rss(pid: int | None) -> int:
    """Resident memory at its highest, bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def test_100_megabytes_arrive_byte_for_byte_with_flat_memory(processes: Processes) -> None:
    process = await processes.start("r", counting(100), {}, ENV)
    digest, at, highest = hashlib.sha256(), 0, 0
    at_first = rss(process.holder)
    while True:
        ending = process.ending
        parts = await process.read(at)
        for _, data in parts:
            digest.update(data)
            at += len(data)
        process.shipped(at)
        if not parts:
            if ending is not None:
                break
            with contextlib.suppress(FileNotFoundError, ValueError):
                highest = max(highest, rss(process.holder))
            await process.grew(20)
    assert at == 100 * MB
    assert digest.hexdigest() == expected(100)
    assert highest - at_first < 8 * MB
    assert len(list(process._folder.glob("*.out"))) == 1  # what was shipped is gone


async def test_a_node_that_does_not_ship_holds_the_command_up(processes: Processes) -> None:
    process = await processes.start("r", Command(argv=("yes",)), {}, ENV)
    await until(lambda: process.end > AHEAD)
    held_at = await _still(process)
    assert held_at <= AHEAD + 2 * MB
    process.shipped(held_at)
    await until(lambda: process.end > held_at)


async def _still(process: Process) -> int:
    """The end of the output once it has stopped growing."""
    while True:
        end = process.end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await until(lambda: process.end > end)  # noqa: B023
        if process.end == end:
            return end


@pytest.mark.slow
async def test_without_a_node_the_newest_output_is_kept(tmp_path: Path) -> None:
    """The spool is a ring then; a reader sees by `first` that something is missing, and the rest is exact."""
    folder = tmp_path / "runs"
    first = Processes(folder)
    await first.start("r", counting(300), {}, ENV)
    await first.close()
    await until((folder / "r/ending").exists)
    kept = sum(path.stat().st_size for path in (folder / "r").glob("*.out"))
    assert 255 * MB < kept < 259 * MB
    later = Processes(folder)
    (process,) = await later.found()
    assert process.end == 300 * MB
    assert 43 * MB < process.first < 45 * MB
    with pytest.raises(Conflict):
        await process.read(0)
    ((_, data),) = await process.read(process.first + 5, 64)
    begin = (process.first + 5) // 16
    assert data == b"".join(b"%015d\n" % n for n in range(begin, begin + 6))[(process.first + 5) % 16 :][:64]
    await process.forget()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_full_disk_loses_nothing_while_output_is_shipped(tiny_disk: Path) -> None:
    processes = Processes(tiny_disk / "runs")
    process = await processes.start("r", counting(20), {}, ENV)
    parts, ending = await parts_of(process)
    assert hashlib.sha256(b"".join(data for _, data in parts)).hexdigest() == expected(20)
    assert (ending.code, ending.error) == (0, None)
    await process.forget()


async def test_a_full_disk_without_a_node_keeps_the_newest(tiny_disk: Path) -> None:
    processes = Processes(tiny_disk / "runs")
    await processes.start("r", counting(20), {}, ENV)
    await processes.close()
    await until((tiny_disk / "runs/r/ending").exists)
    later = Processes(tiny_disk / "runs")
    (process,) = await later.found()
    assert process.ending is not None
    assert (process.ending.code, process.end) == (0, 20 * MB)
    assert process.first > 16 * MB
    data = b"".join([data for _, data in await process.read(process.first, 4 * MB)])
    assert len(data) == process.end - process.first
    assert data.endswith(b"%015d\n" % (20 * MB // 16 - 1))
    await process.forget()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


async def test_a_disk_with_no_room_at_all_costs_output_and_says_so(tiny_disk: Path) -> None:
    processes = Processes(tiny_disk / "runs")
    process = await processes.start(
        "r", Command(shell="echo up; read x; head -c 200000 /dev/zero", stdin=True), {}, ENV
    )
    at = len(await said(process, "up\n"))
    process.shipped(at)
    with pytest.raises(OSError, match="No space"):
        fill(tiny_disk / "filler")
    await process.input(b"go\n")
    while process.ending is None:
        at = max(at, process.first)
        at += sum(len(data) for _, data in await process.read(at))
        process.shipped(at)
        await process.grew(20)
    assert (process.ending.code, process.end) == (0, 200003)
    assert "bytes of its output are lost" in str(process.ending.error)
    (tiny_disk / "filler").unlink()
    await process.forget()


async def test_a_stuck_reader_of_one_run_costs_no_other(processes: Processes) -> None:
    await processes.start("stuck", Command(argv=("yes",)), {}, ENV)
    parts, ending = await parts_of(await processes.start("r", counting(5), {}, ENV))
    assert (sum(len(data) for _, data in parts), ending.code) == (5 * MB, 0)

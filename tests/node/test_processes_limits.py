"""Limits: each is felt by the command, and said in words it can understand."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from tests.node.watching import ENV, told
from treadle.core.runs import Command, Limits
from treadle.node.cgroups import Groups, delegated
from treadle.node.processes import Processes

SAY = "\nexcept OSError as error: print(error.strerror)"
SPIN = "while True: pass"
FORKS = """
import os, time
made = 0
try:
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        made += 1
except OSError as error:
    print(error.strerror)
print('made', made)
time.sleep(60)
"""


@pytest.fixture
def uncontrolled(processes: Processes) -> Processes:
    """A machine on which no control group was delegated."""
    processes._groups = Groups()
    return processes


@pytest.mark.parametrize(
    ("limits", "code", "expected"),
    [
        (Limits(memory=200 << 20), "try: bytearray(400 << 20)\nexcept MemoryError: print('no memory')", "no memory"),
        (Limits(files=20), "try: [open('/dev/null') for _ in range(30)]" + SAY, "Too many open files"),
        (Limits(file_size=1000), "try: [open('f', 'ab', 0).write(b'x' * 600) for _ in '123']" + SAY, "File too large"),
    ],
)  # fmt: skip
async def test_a_limit_is_felt(uncontrolled: Processes, limits: Limits, code: str, expected: str) -> None:
    out, err, _ = await told(
        await uncontrolled.start("r", Command(argv=(sys.executable, "-c", code), limits=limits), {}, ENV)
    )
    assert out.strip() == expected, err


async def test_the_limit_on_file_size_is_the_commands_and_not_the_spools(uncontrolled: Processes) -> None:
    command = Command(shell="head -c 3000000 /dev/zero", limits=Limits(file_size=1000))
    out, _, ending = await told(await uncontrolled.start("r", command, {}, ENV))
    assert (len(out), ending.code) == (3000000, 0)


async def test_cpu_time_ends_a_command(uncontrolled: Processes) -> None:
    command = Command(argv=(sys.executable, "-c", SPIN), limits=Limits(cpu=1))
    _, _, ending = await told(await uncontrolled.start("r", command, {}, ENV))
    assert (ending.signal, ending.reason) == ("SIGXCPU", "exited")


async def test_a_run_with_too_many_processes_is_ended_or_gets_no_more(uncontrolled: Processes) -> None:
    command = Command(argv=(sys.executable, "-c", FORKS), limits=Limits(processes=20, seconds=10), grace=0)
    out, _, ending = await told(await uncontrolled.start("r", command, {}, ENV))
    if ending.reason == "timeout":  # the kernel held it, as it does for all but root
        assert "Resource temporarily unavailable" in out
    else:
        assert (ending.reason, ending.error) == ("killed", "it had more than 20 processes")


@pytest.mark.skipif(not delegated().parents, reason="no control group is delegated here")
class TestControlGroups:
    """Where we may make them, limits hold for the run as a whole."""

    async def test_processes(self, processes: Processes, tmp_path: Path) -> None:
        command = Command(argv=(sys.executable, "-u", "-c", FORKS), limits=Limits(processes=20, seconds=1), grace=0)
        out, err, ending = await told(await processes.start(unique(tmp_path), command, {}, ENV))
        assert out.split("\n")[:2] == ["Resource temporarily unavailable", "made 19"], err
        assert ending.reason == "timeout"
        assert [
            name
            for parent in delegated().parents.values()
            for name in os.listdir(parent)
            if name == f"treadle-{unique(tmp_path)}"
        ] == []

    async def test_memory(self, processes: Processes, tmp_path: Path) -> None:
        """Each process keeps below the limit; together they do not."""
        code = "import os, time\nfor _ in range(4): os.fork()\nx = bytearray(40 << 20)\ntime.sleep(60)"
        command = Command(argv=(sys.executable, "-c", code), limits=Limits(memory=200 << 20, seconds=20), grace=0)
        process = await processes.start(unique(tmp_path), command, {}, ENV)
        _, _, ending = await told(process)
        assert "the memory limit was reached" in str(ending.error)


def unique(folder: Path) -> str:
    """A name that no other test has: control groups belong to the machine."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]

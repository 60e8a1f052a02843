"""Lives: a run outlives the node that started it, is found again, and leaves nothing once it is forgotten."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.node.watching import ENV, children_of, marked, parts_of, said, told, until
from treadle.core.runs import Command, Window
from treadle.node.holder.fields import decode
from treadle.node.processes import Process, Processes

STARTER = """
import asyncio, sys
from pathlib import Path
from treadle.core.runs import Command
from treadle.node.processes import Processes

async def main():
    processes = Processes(Path(sys.argv[1]))
    for name, shell in zip(sys.argv[2::2], sys.argv[3::2]):
        await processes.start(name, Command(shell=shell, stdin=True), {}, {"PATH": "/usr/bin:/bin", "MARK": name})
    print("started", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def life(folder: Path, **runs: str) -> None:
    """A node's process that starts these runs and is then killed without a warning."""
    words = [word for pair in runs.items() for word in pair]
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(folder), *words, stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    assert await starter.stdout.readline() == b"started\n"
    starter.kill()
    await starter.wait()


async def test_runs_are_found_again_after_their_node_was_killed(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)  # a path that no socket's address could hold
    await life(long, living="echo one; read x; echo $x; exit 6", done="echo two; exit 7", both="echo three; sleep 300")
    await until((long / "done/ending").exists)
    later = Processes(long)
    living, both, done = sorted(await later.found(), key=lambda process: "lbd".index(process.name[0]))
    assert await later.found() == []
    assert done.ending is not None
    assert (await told(done))[0] == "two\n"
    assert done.ending.code == 7
    assert living.ending is None
    assert living.started
    await living.input(b"still here\n")
    assert (await told(living))[0] == "one\nstill here\n"
    assert living.ending is not None
    assert living.ending.code == 6  # type: ignore[unreachable]
    await said(both, "three")
    await both.signal(15, grace=1)
    assert (await told(both))[2].reason == "killed"
    for process in (living, done, both):
        await process.forget()
    assert list(long.iterdir()) == []
    await later.close()


async def test_a_run_whose_holder_was_killed_is_lost_and_its_tree_ended(processes: Processes, tmp_path: Path) -> None:
    mark = f"MARK={tmp_path}"
    shell = "echo before; setsid sh -c 'sleep 300; :' & (trap '' TERM; sleep 300; :) & echo up; wait"
    process = await processes.start("r", Command(shell=shell), {}, {**ENV, "MARK": str(tmp_path)})
    await said(process, "up")
    os.kill(_holder(process), signal.SIGKILL)
    out, _, ending = await told(process)
    assert out.split() == ["before", "up"]
    assert (ending.reason, ending.code) == ("lost", None)
    assert marked(mark) == []


async def test_a_holder_that_died_with_its_node_leaves_a_lost_run(tmp_path: Path) -> None:
    await life(tmp_path / "runs", r="echo printed; setsid sleep 300 & sleep 300")
    state = dict(decode((tmp_path / "runs/r/state").read_bytes()))
    os.kill(int(state["holder"]), signal.SIGKILL)
    later = Processes(tmp_path / "runs")
    (found,) = await later.found()
    out, _, ending = await told(found)
    assert ending.reason == "lost"
    assert out in ("printed\n", "")
    assert marked(f"TREADLE_RUN={tmp_path}/runs/r\0") == []
    await found.forget()
    assert list((tmp_path / "runs").iterdir()) == []


async def test_a_holder_told_to_stop_ends_its_run(processes: Processes, tmp_path: Path) -> None:
    process = await processes.start(
        "r", Command(shell="trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done"), {}, ENV
    )
    await said(process, "up")
    os.kill(_holder(process), signal.SIGTERM)
    _, _, ending = await told(process)
    assert (ending.reason, ending.code) == ("shutdown", 9)


async def test_forgetting_a_living_run_ends_it(processes: Processes, tmp_path: Path) -> None:
    command = Command(shell="trap '' TERM; yes & setsid sleep 300 & echo up; wait")
    process = await processes.start("r", command, {}, {**ENV, "MARK": str(tmp_path)})
    await said(process, "y\n" * 100)
    await process.forget()
    assert marked(f"MARK={tmp_path}") == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_a_holder_that_hangs_is_ended_too(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treadle.node.processes.FORGET_SECONDS", 0.2)
    process = await processes.start("r", Command(argv=("sleep", "300")), {}, {**ENV, "MARK": str(tmp_path)})
    os.kill(_holder(process), signal.SIGSTOP)
    await process.forget()
    assert marked(f"MARK={tmp_path}") == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_many_runs_leave_nothing_behind(processes: Processes, tmp_path: Path) -> None:
    await census(processes, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_500_runs_leave_nothing_behind(processes: Processes, tmp_path: Path) -> None:
    await census(processes, tmp_path, 500)


async def census(processes: Processes, tmp_path: Path, count: int) -> None:
    async def one(number: int) -> None:
        shell = ("echo hi", "exit 3", "sleep 300 & echo x", "setsid sleep 300 & exit 1", "kill -9 $$")[number % 5]
        pty = Window() if number % 3 == 0 else None
        process = await processes.start(
            f"r{number}", Command(shell=shell, pty=pty, grace=0), {}, {**ENV, "MARK": str(tmp_path)}
        )
        await parts_of(process)
        await process.forget()

    await one(0)
    gc.collect()
    before = (
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(asyncio.all_tasks()),
        children_of(os.getpid()),
    )
    for start in range(1, count, 8):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 8, count))))
    await asyncio.sleep(0)
    gc.collect()
    after = (
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(asyncio.all_tasks()),
        children_of(os.getpid()),
    )
    assert after == before
    assert marked(f"MARK={tmp_path}") == []
    assert list((tmp_path / "runs").iterdir()) == []


def _holder(process: Process) -> int:
    assert process.holder is not None
    return process.holder

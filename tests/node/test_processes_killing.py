"""Ending whole trees: whatever descends from a command is gone when its run has ended, and nobody stays a zombie."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.node.watching import ENV, marked, said, told
from treadle.core.runs import Command, Limits, Window
from treadle.node.processes import Processes

# Each prints "up" once all of it is there, and would stay for minutes.
TREES = {
    "plain": "echo up; sleep 300",
    "children": "sleep 300 & sleep 300 & echo up; wait",
    "setsid": "setsid sleep 300 & echo up; wait",
    "ignores TERM": "trap '' TERM; echo up; while :; do sleep 1; done",
    "child ignores TERM": "(trap '' TERM; echo up; while :; do sleep 1; done) & wait",
    "nohup": "nohup sleep 300 >/dev/null 2>&1 & echo up; wait",
    "double fork": """exec python -c '
import os, time, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.write(1, b"up"); time.sleep(300)
    os._exit(0)
os.wait(); time.sleep(300)'""",
    "stopped": "kill -STOP $$ & (sleep 0.1; echo up; sleep 300)",
    "respawning": "while :; do sleep 0.01; done & echo up; while :; do (setsid sleep 300 &); sleep 0.02; done",
    "fork bomb": """exec python -c '
import os, time
os.write(1, b"up")
for _ in range(7):
    os.fork()
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()'""",
    "comet": """exec python -c '
import os
os.write(1, b"up")
while True:
    if os.fork():
        os._exit(0)
    os.setsid()'""",
}
PATH = {**ENV, "PATH": f"{Path(sys.executable).parent}:{ENV['PATH']}"}


@pytest.mark.parametrize("grace", [0.0, 0.3])
@pytest.mark.parametrize("tree", TREES)
async def test_nobody_survives_a_kill(processes: Processes, tree: str, grace: float, tmp_path: Path) -> None:
    mark = f"MARK={tmp_path}"
    process = await processes.start("r", Command(shell=TREES[tree], grace=grace), {}, {**PATH, "MARK": str(tmp_path)})
    await said(process, "up")
    await process.signal(15, grace=grace)
    _, _, ending = await told(process)
    assert marked(mark) == []
    assert ending.reason == "killed" or tree == "comet"  # whose first process has ended by itself


@pytest.mark.parametrize("pty", [None, Window()])
@pytest.mark.parametrize("tree", ["sleep 300 &", "setsid sleep 300 &", "(trap '' TERM; while :; do sleep 0.1; done) &"])
async def test_a_run_ends_with_its_command_whoever_holds_the_pipe(
    processes: Processes, tree: str, pty: Window | None, tmp_path: Path
) -> None:
    mark = f"MARK={tmp_path}"
    command = Command(shell=f"{tree} echo last; exit 4", grace=0.3, pty=pty)
    process = await processes.start("r", command, {}, {**ENV, "MARK": str(tmp_path)})
    out, _, ending = await told(process)
    assert out.split() == ["last"]
    assert (ending.code, ending.reason) == (4, "exited")
    assert marked(mark) == []


async def test_the_last_words_of_those_left_are_kept(processes: Processes) -> None:
    shell = "(trap 'echo farewell; exit' TERM; echo up; while :; do sleep 0.01; done) & read x; exit 0"
    process = await processes.start("r", Command(shell=shell, stdin=True), {}, ENV)
    await said(process, "up")
    await process.input(b"go\n")
    out, _, ending = await told(process)
    assert out.split() == ["up", "farewell"]
    assert ending.reason == "exited"


async def test_a_signal_with_grace_leaves_time_for_a_clean_end(processes: Processes) -> None:
    shell = "trap 'echo cleaning; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    process = await processes.start("r", Command(shell=shell), {}, ENV)
    await said(process, "up")
    await process.signal(15, grace=30)
    out, _, ending = await told(process)
    assert "cleaning" in out
    assert (ending.code, ending.reason) == (7, "killed")


async def test_wall_time_ends_a_run(processes: Processes, tmp_path: Path) -> None:
    mark = f"MARK={tmp_path}"
    command = Command(shell="trap '' TERM; setsid sleep 300 & sleep 300", limits=Limits(seconds=0.2), grace=0.2)
    process = await processes.start("r", command, {}, {**ENV, "MARK": str(tmp_path)})
    _, _, ending = await told(process)
    assert (ending.reason, ending.signal) == ("timeout", "SIGKILL")
    assert marked(mark) == []

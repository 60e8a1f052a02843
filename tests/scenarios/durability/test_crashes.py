"""A working process is killed without a word, several times over: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.scenarios.durability.acknowledged import Ack, check_file

WORKING = Path(__file__).with_name("working.py")
KILLS = 3


def work_until_killed(path: Path, generation: int, answers: int) -> list[Ack]:
    """Let a process work on the store and kill it after so many answers; all that it said until it was dead."""
    command = [sys.executable, str(WORKING), str(path), str(generation)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if len(said) == answers:
                process.kill()
    assert process.returncode == -9
    return [msgspec.json.decode(line, type=Ack) for line in said if line.endswith(b"\n")]


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    path = tmp_path / "treadle.db"
    acks: list[Ack] = []
    for generation in range(KILLS):
        acks += work_until_killed(path, generation, chance.choice([1, 2, 5, 50, 300, 800]) + chance.randrange(9))
        await check_file(path, acks)
    made: dict[int, set[str]] = {}
    for ack in acks:
        if ack.what == "made":
            made.setdefault(ack.number, set()).add(ack.task)
    assert all(len(tasks) == 1 for tasks in made.values())  # asked for again after the crash: the same task
    assert sum(ack.what == "made" for ack in acks) > len(made)

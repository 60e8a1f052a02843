"""Commands that a device runs: how they end, what is kept of their output, where they run, and that they are ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.node.watching import ENV, marked, until
from treadle.core.runs import Command
from treadle.device.tools.commands import Commands, ExecuteCommand, Printed
from treadle.device.tools.roots import Roots
from treadle.node.processes import Processes


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "out").symlink_to("..")
    opened = Roots([tmp_path / "root"])
    yield opened
    opened.close()


@pytest.fixture
def commands(processes: Processes, roots: Roots, tmp_path: Path) -> Commands:
    return Commands(processes, roots, {**ENV, "MARK": tmp_path.name})


async def execute(commands: Commands, command: str | list[str], **more: Any) -> dict[str, Any]:
    return await commands.execute(ExecuteCommand(command, **more))


async def test_text_is_for_a_shell_and_a_list_is_not(commands: Commands) -> None:
    said = await execute(commands, "echo $((1+1)); echo bad >&2")
    assert (said["success"], said["exit_code"], said["stdout"], said["stderr"]) == (True, 0, "2\n", "bad\n")
    said = await execute(commands, ["echo", "$((1+1))", "a  b"])
    assert said["stdout"] == "$((1+1)) a  b\n"


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("exit 3", 3, "Its exit code is 3"),
        ("kill -9 $$", -9, "It was ended by SIGKILL"),
        (["no-such-program-anywhere"], None, "no-such-program-anywhere"),
        ("", None, "there is no command"),
        ([], None, "there is no command"),
        ("echo \0", None, "zero byte"),
        (["a\0b"], None, "zero byte"),
    ],
)
async def test_a_command_that_fails_says_so_itself(
    commands: Commands, command: str | list[str], code: int | None, error: str
) -> None:
    said = await execute(commands, command)
    assert said["success"] is False
    assert said.get("exit_code") == code
    assert error in said["error"]


async def test_a_command_that_takes_too_long_is_ended(commands: Commands, tmp_path: Path) -> None:
    said = await execute(commands, "echo begun; sleep 300 & sleep 300", timeout=0.3)
    assert (said["success"], said["reason"], said["stdout"]) == (False, "timeout", "begun\n")
    assert said["error"] == "It ran longer than it was allowed to"
    assert marked(f"MARK={tmp_path.name}") == []


async def test_much_output_is_bounded_and_the_answer_says_so(commands: Commands) -> None:
    said = await execute(commands, "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last; echo few >&2")
    assert said["success"] is True
    assert (said["truncated"], said["stdout_bytes"]) == (True, 3000012)
    assert len(said["stdout"]) < 600_000
    assert said["stdout"].startswith("first\nxxx")
    assert "bytes left out" in said["stdout"]
    assert said["stdout"].endswith("\nlast\n")
    assert (said["stderr"], "stderr_bytes" in said) == ("few\n", False)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 1000])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_the_beginning_and_the_end_are_kept(size: int, piece: int) -> None:
    whole = bytes(number % 251 for number in range(size))
    printed = Printed(10)
    for at in range(0, size, piece):
        printed.add(whole[at : at + piece])
    assert printed.size == size
    if size <= 10:
        assert (printed.data, printed.left_out) == (whole, 0)
    else:
        assert printed.left_out == size - 10
        assert printed.data.startswith(whole[:5])
        assert printed.data.endswith(whole[-5:])


async def test_commands_run_inside_the_roots(commands: Commands, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert (await execute(commands, "pwd"))["stdout"] == f"{root}\n"
    assert (await execute(commands, "pwd -P", cwd="sub"))["stdout"] == f"{root}/sub\n"
    assert (await execute(commands, "pwd -P", cwd=f"{root}/sub"))["stdout"] == f"{root}/sub\n"
    for cwd in ("..", "out", "/", "/tmp", "nothing"):
        said = await execute(commands, "touch made", cwd=cwd)
        assert said["success"] is False, cwd
    assert not any("made" in names for _, _, names in os.walk(tmp_path))


async def test_without_roots_a_command_runs_where_the_device_does_and_nowhere_else(
    processes: Processes, tmp_path: Path
) -> None:
    commands = Commands(processes, Roots([]), ENV)
    assert (await execute(commands, "pwd -P"))["stdout"] == f"{tmp_path}\n"
    assert (await execute(commands, "pwd", cwd="/tmp"))["success"] is False


async def test_whoever_stops_waiting_ends_the_command(commands: Commands, tmp_path: Path) -> None:
    mark = f"MARK={tmp_path.name}"
    running = asyncio.create_task(execute(commands, "trap '' TERM; (setsid sleep 300) & sleep 300"))
    await until(lambda: len(marked(mark)) >= 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert marked(mark) == []
    assert list((tmp_path / "runs").iterdir()) == []


async def test_a_command_gets_what_it_is_to_read(commands: Commands) -> None:
    data = b"x" * 300_000
    ran = await commands.run(Command(shell="wc -c"), stdin=data)
    assert ran.stdout.data.split() == [b"300000"]
    ran = await commands.run(Command(shell="exit 0"), stdin=data)
    assert ran.ending.ok


def test_arguments_of_the_stock_tool_are_taken() -> None:
    asked = msgspec.convert({"command": "ls", "api_key": "***", "timeout": "5"}, ExecuteCommand, strict=False)
    assert (asked.command, asked.timeout) == ("ls", 5.0)

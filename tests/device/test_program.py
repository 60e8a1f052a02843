"""`treadle device` as a process: from its options to its end, whoever ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.device.scripted import SECONDS, said, scripted
from tests.node.watching import marked, until

SMALL_SERVER = Path(__file__).parent / "tools" / "small_server.py"


async def begun(url: str, folder: Path, *options: str, **env: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "treadle", "device", "--server", url, "--id", "lab/1", "--home", str(folder / "home"),
        *options, env={**os.environ, "MARK": folder.name, **env}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def device(url: str, folder: Path, *options: str, **env: str) -> AsyncIterator[Process]:
    """A device that is killed, if it lives, when the test is done with it."""
    process = await begun(url, folder, *options, **env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await ended(process)
    await until(lambda: marked(f"MARK={folder.name}") == [])


async def test_it_registers_works_and_ends_with_a_goodbye(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame\n")
    (tmp_path / "note").write_text("hello")
    options = ("--root", str(tmp_path), "--token", f"@{tmp_path / 'key'}", "--ready-file", str(tmp_path / "ready"))
    async with scripted() as script, device(script.url, tmp_path, *options) as process:
        peer = await script.device()
        assert peer.path == "/ws?token=sesame"
        await peer.command("r-1", ("execute_command", {"command": "env; cat note"}), ("read_file", {"path": "note"}))
        results = await peer.results("r-1")
        assert said(results, 1)["content"] == "hello"
        assert "sesame" not in said(results, 0)["stdout"]
        await until((tmp_path / "ready").exists)
        assert (tmp_path / "ready").read_text() == "lab/1\n"
        await peer.command("r-2", ("execute_command", {"command": "trap '' TERM; sleep 300 & sleep 300"}))
        await until(lambda: len(marked(f"MARK={tmp_path.name}")) > 3)
        process.send_signal(signal.SIGTERM)
        assert await peer.closed() == 1000
        code, out, err = await ended(process)
    assert (code, out) == (0, f"device lab/1 at {script.url}\nStop with Ctrl-C.\n")
    assert "sesame" not in err
    kept = tmp_path / "home" / "device" / "lab%2F1"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert list((kept / "runs").iterdir()) == []


async def test_nothing_survives_a_device_that_was_killed(tmp_path: Path) -> None:
    """Its warden ends the commands and the tool servers, and the next device of that name waits for it."""
    mark = f"MARK={tmp_path.name}"
    servers = {"mcpServers": {"small": {"command": sys.executable, "args": [str(SMALL_SERVER)]}}}
    (tmp_path / "mcp.json").write_text(json.dumps(servers))
    options = ("--root", str(tmp_path), "--mcp", str(tmp_path / "mcp.json"))
    async with scripted() as script:
        async with device(script.url, tmp_path, *options) as process:
            peer = await script.device()
            await peer.command("r-0", ("list_tools", {"namespace": "small"}))
            assert "add" in [tool["tool_name"] for tool in said(await peer.results("r-0"))]
            tree = "trap '' TERM HUP; (setsid sleep 300 &); echo up > up; while :; do sleep 0.1; done"
            await peer.command("r-1", ("execute_command", {"command": tree}))
            await until((tmp_path / "up").exists)
            process.kill()
            await peer.closed()
            async with device(script.url, tmp_path, *options):
                again = await script.device()
                assert [pid for pid in marked(mark) if "sleep" in command_of(pid)] == []
                await again.command("r-2", ("execute_command", {"command": "echo here"}))
                assert said(await again.results("r-2"))["stdout"] == "here\n"
            await ended(process)
        await until(lambda: marked(mark) == [])


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


async def test_a_device_killed_with_its_warden_leaves_its_next_life_to_clear_up(tmp_path: Path) -> None:
    mark = f"MARK={tmp_path.name}"
    async with scripted() as script:
        process = await begun(script.url, tmp_path)
        peer = await script.device()
        await peer.command("r-1", ("execute_command", {"command": "sleep 300", "timeout": 300}))
        await until(lambda: any("sleep" in command_of(pid) for pid in marked(mark)))
        for pid in [each for each in marked(mark) if "treadle.device.warden" in command_of(each)]:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        await ended(process)
        assert [pid for pid in marked(mark) if "sleep" in command_of(pid)] != []
        async with device(script.url, tmp_path):
            await script.device()
            assert [pid for pid in marked(mark) if "sleep" in command_of(pid)] == []


async def test_one_process_is_the_device(tmp_path: Path) -> None:
    async with scripted() as script, device(script.url, tmp_path):
        await script.device()
        code, _, err = await ended(await begun(script.url, tmp_path))
    assert code == 1
    assert "another process is this device already" in err


async def test_an_answer_survives_the_device(tmp_path: Path) -> None:
    """It was finished while there was no server, and the device was killed before there was one again."""
    async with scripted() as script:
        port = script.port
        process = await begun(script.url, tmp_path, "--root", str(tmp_path))
        peer = await script.device()
        command = "echo x >> runs; while [ ! -e go ]; do sleep 0.01; done; echo done"
        await peer.command("r-1", ("execute_command", {"command": command}))
        await until((tmp_path / "runs").exists)
    answers = tmp_path / "home" / "device" / "lab%2F1" / "answers"
    (tmp_path / "go").touch()
    await until(lambda: [each for each in answers.iterdir() if not each.name.startswith(".")] != [])
    process.kill()
    await ended(process)
    async with scripted(port) as script, device(script.url, tmp_path):
        peer = await script.device()
        assert said(await peer.results("r-1"))["stdout"] == "done\n"
        await until(lambda: list(answers.iterdir()) == [])
    assert (tmp_path / "runs").read_text() == "x\n"


async def test_it_executes_requests_with_a_program(tmp_path: Path) -> None:
    options = ("--executes", "--executor", "tr a-z A-Z")
    async with scripted() as script, device(script.url, tmp_path, *options):
        peer = await script.device()
        await peer.say(type="task", status="continue", user_request="shout", task_name="T", session_id="S1")
        await peer.heard("task")
        end = await peer.heard("task_end")
        assert end["metadata"]["result"] == {"output": "SHOUT", "exit_code": 0}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--token", "sesame"), "--token: everybody on this machine can read that there"),
        (("--token", "@/no/such/file"), "--token: /no/such/file cannot be read"),
        (("--executes",), "--executes needs --executor"),
        (("--executor", "x"), "--executes needs --executor"),
        (("--executes", "--executor", "'"), "--executor: "),
        (("--executes", "--executor", ""), "--executor: must name a program"),
        (("--mcp", "/no/such/file"), "/no/such/file cannot be read"),
        (("--tls-pin", "ab"), "wss://"),
        (("--server", "http://h/"), "--server: must be ws://"),
        (("--server", "ws://h/ws?token=sesame"), "--server: everybody on this machine can read a secret there"),
        (("--id", " "), "--id: must not be empty"),
    ],
)
async def test_wrong_options_are_told_at_once(tmp_path: Path, options: tuple[str, ...], error: str) -> None:
    code, out, err = await ended(await begun("ws://127.0.0.1:1/ws", tmp_path, *options))
    assert (code, out) == (2, "")
    assert err.startswith("treadle: ")
    assert error in err
    assert "sesame" not in err


async def test_a_root_must_be_a_folder(tmp_path: Path) -> None:
    code, _, err = await ended(await begun("ws://127.0.0.1:1/ws", tmp_path, "--root", str(tmp_path / "none")))
    assert code == 1
    assert err == f"treadle: --root: {tmp_path / 'none'}: No such file or directory\n"

"""Commands: how they are started, what they see, what they print and read, and how they end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from tests.node.watching import ENV, said, told, until
from treadle.core.errors import Conflict, Duplicate, Invalid, WrongState
from treadle.core.runs import Command, Ending, Window
from treadle.node.processes import Processes

PYTHON = sys.executable


def python(code: str, **more: object) -> Command:
    return Command(argv=(PYTHON, "-u", "-c", code), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shell", "code", "signal", "reason"),
    [
        ("exit 0", 0, None, "exited"),
        ("exit 3", 3, None, "exited"),
        ("exit 255", 255, None, "exited"),
        ("kill -TERM $$", -15, "SIGTERM", "exited"),
        ("kill -KILL $$", -9, "SIGKILL", "exited"),
        ("kill -SEGV $$", -11, "SIGSEGV", "exited"),
        ("kill -40 $$", -40, "SIG40", "exited"),
    ],
)
@pytest.mark.parametrize("pty", [None, Window()])
async def test_how_a_command_ends(
    processes: Processes, shell: str, code: int, signal: str | None, reason: str, pty: Window | None
) -> None:
    process = await processes.start("r", Command(shell=shell, pty=pty), {}, ENV)
    _, _, ending = await told(process)
    assert (ending.code, ending.signal, ending.reason, ending.error) == (code, signal, reason, None)
    assert process.started
    assert 0 < ending.seconds < 20


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Command(argv=("no-such-program",)), "no-such-program: command not found"),
        (Command(argv=("/no/such",)), "/no/such: No such file or directory"),
        (Command(argv=("/etc/passwd",)), "/etc/passwd: Permission denied"),
        (Command(argv=("true",), cwd="/no/such/folder"), "/no/such/folder: No such file or directory"),
    ],
)
async def test_what_cannot_be_started_says_why(processes: Processes, command: Command, error: str) -> None:
    process = await processes.start("r", command, {}, ENV)
    assert process.ending == Ending(reason="spawn_error", error=error)
    assert not process.started
    await process.forget()


async def test_a_name_is_taken_once_and_names_a_folder(processes: Processes) -> None:
    await processes.start("r", Command(argv=("true",)), {}, ENV)
    with pytest.raises(Duplicate):
        await processes.start("r", Command(argv=("true",)), {}, ENV)
    for name in ("", "..", "a/b"):
        with pytest.raises(ValueError, match="cannot name"):
            await processes.start(name, Command(argv=("true",)), {}, ENV)


async def test_arguments_variables_and_folder_arrive_as_they_are(processes: Processes, tmp_path: Path) -> None:
    odd = ["", " ", "a b", "'\"$(id)", "line\nline", "ü\udcff"]
    code = "import os,sys,json; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
    folder = tmp_path / "a folder"
    folder.mkdir()
    command = Command(argv=(PYTHON, "-c", code, *odd), cwd=str(folder), env={"B": "own", "EMPTY": ""})
    out, err, _ = await told(await processes.start("r", command, {"S": "quiet!"}, {**ENV, "A": "a", "B": "b"}))
    argv, cwd, env = json.loads(out)
    assert argv == odd, err
    assert cwd == str(folder)
    env.pop("LC_CTYPE", None)
    assert env == {**ENV, "A": "a", "B": "own", "EMPTY": "", "S": "***", "TREADLE_RUN": str(tmp_path / "runs/r")}


async def test_a_command_inherits_nothing_it_was_not_given(processes: Processes) -> None:
    """No descriptor, no blocked or ignored signal, no core dump; its own session and group; nothing to read."""
    code = """
import os, signal, resource, json
print(json.dumps({
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
    "blocked": [l.split()[1] for l in open("/proc/self/status") if l.startswith("SigBlk")],
    "own": os.getsid(0) == os.getpgid(0) == os.getpid(), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "umask": os.umask(0), "stdin": os.read(0, 10).decode()}))
"""
    ours = os.umask(0o027)
    os.umask(ours)
    inherited = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        out, err, _ = await told(await processes.start("r", python(code), {}, ENV))
        ignored, _, _ = await told(
            await processes.start("s", Command(argv=("grep", "SigIgn", "/proc/self/status")), {}, ENV)
        )
    finally:
        os.close(inherited)
    expected = {"blocked": ["0000000000000000"], "own": True, "core": [0, 0], "umask": ours, "stdin": ""}
    assert json.loads(out) == {"descriptors": [0, 1, 2], **expected}, err
    assert int(ignored.split()[1], 16) & ~0x180000000 == 0  # 32 and 33 are the C library's own, and out of reach


async def test_errors_are_a_stream_of_their_own(processes: Processes) -> None:
    out, err, _ = await told(await processes.start("r", Command(shell="echo a; echo b >&2; echo c"), {}, ENV))
    assert (out, err) == ("a\nc\n", "b\n")


async def test_the_last_word_of_a_command_is_never_lost(processes: Processes) -> None:
    """Whatever is in the pipe or the terminal when the command ends is delivered."""
    for number, pty in enumerate([None, Window()] * 5):
        code = "import os; os.write(1, b'x' * 50000); os.write(1, b'end')"
        out, _, _ = await told(await processes.start(f"r{number}", python(code, pty=pty), {}, ENV))
        assert (len(out), out[-3:]) == (50003, "end")


@pytest.mark.parametrize("pty", [None, Window()])
async def test_a_prompt_without_a_newline_is_seen_and_answered(processes: Processes, pty: Window | None) -> None:
    process = await processes.start("r", python("n = input('name? '); print('hello', n)", stdin=True, pty=pty), {}, ENV)
    await said(process, "name? ")
    await process.input(b"Ada\n")
    await said(process, "hello Ada")
    assert (await told(process))[2].code == 0


@pytest.mark.parametrize(("pty", "last"), [(None, b"two"), (Window(), b"two\n"), (Window(), b"two")])
async def test_input_ends_where_it_is_said_to(processes: Processes, pty: Window | None, last: bytes) -> None:
    process = await processes.start("r", Command(argv=("cat",), stdin=True, pty=pty), {}, ENV)
    await process.input(b"one\n")
    await process.input(last, eof=True)
    out, _, ending = await told(process)
    assert ending.code == 0
    assert "two" in out
    with pytest.raises(WrongState):
        await process.input(b"more")


async def test_a_megabyte_of_input_arrives_whole(processes: Processes) -> None:
    process = await processes.start("r", Command(argv=("sha256sum",), stdin=True), {}, ENV)
    await process.input(b"x" * 1_000_003, eof=True)
    out, _, _ = await told(process)
    assert out.split()[0] == hashlib.sha256(b"x" * 1_000_003).hexdigest()


async def test_input_that_nobody_reads_is_refused_in_time(processes: Processes) -> None:
    process = await processes.start("r", Command(argv=("sleep", "60"), stdin=True), {}, ENV)
    started = asyncio.get_running_loop().time()
    with pytest.raises(Conflict, match="does not read its input"):
        await process.input(b"x" * 1_000_000)
    assert 1.9 < asyncio.get_running_loop().time() - started < 4
    closed = await processes.start("s", Command(shell="exec 0<&-; echo closed; sleep 60", stdin=True), {}, ENV)
    await said(closed, "closed")
    with pytest.raises(Conflict, match="has closed its input"):
        await closed.input(b"x")
    deaf = await processes.start("t", Command(argv=("sleep", "60")), {}, ENV)
    with pytest.raises(Conflict, match="without an input"):
        await deaf.input(b"x")
    for each in (process, closed, deaf):
        await each.forget()


async def test_a_terminal_is_one(processes: Processes) -> None:
    """A controlling terminal of the asked size, known to programs, with the kernel's usual manners."""
    code = """
import os, signal, sys
print([os.isatty(n) for n in (0, 1, 2)], os.open('/dev/tty', os.O_RDWR) > 2, os.tcgetpgrp(0) == os.getpgrp())
print(tuple(os.get_terminal_size()), os.environ['TERM'], os.environ['COLUMNS'], os.environ['LINES'])
signal.signal(signal.SIGWINCH, lambda *_: print('now', tuple(os.get_terminal_size(0))))
print('ready')
while (line := sys.stdin.readline().strip()) != 'end': print('got', line)
"""
    process = await processes.start("r", python(code, pty=Window(columns=91, rows=17)), {}, ENV)
    seen = await said(process, "ready")
    assert "[True, True, True] True True\r\n(91, 17) xterm-256color 91 17\r\n" in seen
    await process.resize(Window(columns=50, rows=20))
    await said(process, "now (50, 20)")
    await process.input(b"word\n")
    assert (await said(process, "got word")).count("word") == 2  # echoed, as by any terminal
    await process.input(b"\x03")
    assert (await told(process))[2].code in (-2, 1, 130)


async def test_signals_reach_the_command_or_who_has_the_terminal(processes: Processes) -> None:
    plain = await processes.start(
        "r", Command(shell="trap 'echo got it' USR1; echo up; while :; do sleep 0.05; done"), {}, ENV
    )
    await said(plain, "up")
    await plain.signal(10)
    await said(plain, "got it")
    await plain.signal(15)
    _, _, ending = await told(plain)
    assert (ending.code, ending.signal, ending.reason) == (-15, "SIGTERM", "killed")
    shell = await processes.start("s", Command(argv=("bash", "--norc", "-i"), pty=Window()), {}, ENV)
    await shell.input(b"sleep 60; echo st''opped\n")
    await until(lambda: any(b"sleep\x0060" in _cmdline(pid) for pid in _children(shell.pid)))
    await shell.signal(2)  # as ^C: the sleep, not the shell
    await shell.input(b"echo still$((1))\n")
    await said(shell, "still1")
    await shell.input(b"exit 5\n")
    assert (await told(shell))[2].code == 5


def _children(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _files_that_hold(words: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and words in path.read_bytes()]


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_secrets_are_masked_and_nowhere_to_be_seen(processes: Processes, tmp_path: Path) -> None:
    secret = "hunter2-battery"
    code = "import os; s = os.environ['KEY']; print('is', s[:5], end='', flush=True); input(); print(s[5:], 'ok')"
    process = await processes.start("r", python(code, stdin=True), {"KEY": secret}, ENV)
    await said(process, "is ")
    for pid in os.listdir("/proc"):
        assert not pid.isdigit() or secret.encode() not in _cmdline(int(pid))
    assert _files_that_hold(secret[:5].encode(), tmp_path) == []
    holder = process.holder
    assert holder is not None
    assert _environment(holder) == b""
    await process.input(b"\n")
    out, _, _ = await told(process)
    assert out == "is *** ok\n"
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "runs").rglob("*"))


async def test_an_unknown_sandbox_is_refused_and_a_missing_one_says_so(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid):
        await processes.start("r", Command(argv=("true",), sandbox="moat"), {}, ENV)
    monkeypatch.setenv("PATH", "/nowhere")
    process = await processes.start("s", Command(argv=("true",), sandbox="bwrap"), {}, ENV)
    assert process.ending is not None
    assert process.ending.reason == "spawn_error"
    assert "not installed" in str(process.ending.error)


@pytest.mark.needs("bwrap")
async def test_a_sandbox_writes_only_where_it_may(processes: Processes, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    shell = f"""
touch here && echo here; touch {tmp_path}/outside/x 2>/dev/null || echo not there
touch /tmp/x && echo tmp; ls -A {tmp_path}/runs | wc -l; ps -e 2>/dev/null | grep -c . ; ls -d /proc/[0-9]* | wc -l
"""
    process = await processes.start("r", Command(shell=shell, cwd=str(folder), sandbox="bwrap"), {}, ENV)
    out, err, ending = await told(process)
    lines = out.splitlines()
    assert (lines[:4], ending.code) == (["here", "not there", "tmp", "0"], 0), err
    assert int(lines[-1]) < 10
    assert (folder / "here").exists()

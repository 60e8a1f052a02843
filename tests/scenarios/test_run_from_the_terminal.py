"""A person at a terminal: `treadle run` and its kin against a real server that runs real commands."""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.processes import SECONDS, Program, Screen, treadle
from tests.scenarios.serving import Running, server, until

ONLY = ("--listen", "fabric=127.0.0.1:0")
QUIET = "exec 2>/dev/null; "  # a shell says of its children how they were ended
WAITS = "echo ready; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("terminal") / "home"
    with server(home, *ONLY) as up:
        present(home)
        yield home
        assert up.stop() == 0


def present(home: Path) -> None:
    """Waits until the server's own node is there."""
    until(lambda: '"present"' in treadle(home, "top", "--once", "--json")[1].decode(), "a node")


def started(home: Path, *command: str) -> str:
    """The id of a run in the background."""
    code, out, err = treadle(home, "run", "--detach", "--json", *command)
    assert code == 0, err
    return str(json.loads(out)["id"])


def run_of(home: Path, id: str) -> dict[str, object]:
    runs = json.loads(treadle(home, "ps", "--all", "--json")[1])["runs"]
    found: dict[str, object] = next(run for run in runs if run["id"] == id)
    return found


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("echo", "hi"), (0, b"hi\n", b"")),
        (("--", "sh", "-c", "echo out; echo err >&2; exit 7"), (7, b"out\n", b"err\n")),
        (("sh", "-c", "kill -USR1 $$"), (128 + signal.SIGUSR1, b"", b"")),
        (("sh", "-c", "kill -KILL $$"), (137, b"", b"")),
        (("printf", r"\000\377\r\n"), (0, b"\x00\xff\r\n", b"")),
        (("--env", "A=b c", "sh", "-c", 'printf %s "$A"'), (0, b"b c", b"")),
        (("--cwd", "/", "pwd"), (0, b"/\n", b"")),
        (("cat",), (0, b"", b"")),
    ],
)
def test_what_a_command_says_and_how_it_ends(
    home: Path, command: tuple[str, ...], expected: tuple[int, bytes, bytes]
) -> None:
    assert treadle(home, "run", *command) == expected


def test_a_command_that_is_not_there(home: Path) -> None:
    code, out, err = treadle(home, "run", "no-such-program")
    assert (code, out) == (127, b"")
    assert err.startswith(b"treadle: ")
    assert b"no-such-program" in err


def test_a_node_that_is_not_there(home: Path) -> None:
    code, out, err = treadle(home, "run", "--on", "nowhere", "true")
    assert (code, out) == (1, b"")
    assert b"nowhere" in err


def test_a_limit_is_kept(home: Path) -> None:
    code, _, err = treadle(home, "run", "--limit", "seconds=0.3", "sleep", "60")
    assert code > 128
    assert err == b"treadle: it ran longer than it was allowed to\n"


@pytest.mark.parametrize(
    ("size", "command"),
    [
        (3_000_000, "cat"),
        (200_000, "sleep 3; cat"),
        (200_000, "head -c 5000; sleep 3; cat"),
    ],
)
def test_a_file_goes_in_and_comes_out(home: Path, size: int, command: str) -> None:
    data = random.randbytes(size)
    code, out, err = treadle(home, "run", "sh", "-c", command, input=data)
    assert (code, err) == (0, b"")
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_a_command_that_has_read_enough(home: Path) -> None:
    code, out, err = treadle(home, "run", "head", "-c", "3", input=random.randbytes(300_000))
    assert (code, len(out), err) == (0, 3, b"")


def test_a_reader_that_has_enough(home: Path) -> None:
    program = Program(home, "run", "yes", "enough of this")
    program.until(b"enough of this\n")
    assert program.process.stdout is not None
    program.process.stdout.close()
    program.process.stdout = None
    assert program.ended() == (141, b"", b"")
    until(lambda: b"enough of this" not in treadle(home, "ps", "--json")[1], "the end of the run")


def test_secrets_show_nowhere(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "word"
    file.write_text("sesame-street-4711\n")
    id = started(home, "--secret", f"WORD=@{file}", "--", "sh", "-c", 'echo "${#WORD} <$WORD>"; sleep 60')
    watching = Program(home, "logs", "-f", id)
    watching.until(b"18 <***>\n")
    shown = b"".join(treadle(home, *words)[1] for words in (("ps", "--json"), ("top", "--once"), ("logs", id)))
    seen = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sesame" not in shown + b"".join(seen)
    assert treadle(home, "kill", id)[0] == 0
    assert watching.ended()[0] == 0


PROMPT = """
import getpass, os, signal, sys, time
print("got", len(getpass.getpass("Password: ")))
def told(*_):
    size = os.get_terminal_size()
    print("size", size.columns, size.lines, flush=True)
signal.signal(signal.SIGWINCH, told)
told()
print(os.environ["TERM"], sys.stdin.isatty())
name = input("> ")
sys.exit(len(name))
"""


@pytest.fixture
def screen(home: Path) -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def make(*arguments: str, columns: int = 90, rows: int = 30) -> Screen:
        opened.append(Screen(home, *arguments, columns=columns, rows=rows))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_a_dialogue_on_a_terminal(screen: Callable[..., Screen]) -> None:
    terminal = screen("run", "--pty", sys.executable, "-c", PROMPT)
    terminal.until(b"Password: ")
    assert terminal.is_raw
    terminal.type(b"secret\r")
    terminal.until(b"got 6\r\n")
    assert b"secret" not in terminal.shown
    terminal.until(b"size 90 30\r\nxterm True\r\n> ")
    terminal.resize(70, 20)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until(b"size 70 20\r\n")
    terminal.type(b"fore\x7fty\r")
    assert terminal.process.wait(SECONDS) == 5
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_keys_that_interrupt_go_to_the_command(screen: Callable[..., Screen]) -> None:
    terminal = screen("run", "--pty", "sh", "-c", "trap 'echo heard; exit 4' INT; " + WAITS)
    terminal.until(b"ready")
    terminal.type(b"\x03")
    terminal.until(b"heard")
    assert terminal.process.wait(SECONDS) == 4


def test_leave_and_come_back(home: Path, screen: Callable[..., Screen]) -> None:
    terminal = screen("run", "--pty", "--name", "kept", "cat")
    terminal.type(b"first\r")
    terminal.until(b"first\r\nfirst\r\n")
    terminal.type(b"~.")
    assert terminal.process.wait(SECONDS) == 0
    found = re.search(rb"`treadle attach (\S+)`", _rest(terminal))
    assert found is not None
    again = screen("attach", found[1].decode())
    again.until(b"first\r\nfirst\r\n")
    again.type(b"second\r")
    again.until(b"second\r\nsecond\r\n")
    again.type(b"\x04")
    assert again.process.wait(SECONDS) == 0


def _rest(terminal: Screen) -> bytes:
    terminal.until(b"comes back to it")
    return terminal.shown


def test_detached_and_attached(home: Path) -> None:
    id = started(home, "--", "sh", "-c", f"{QUIET}echo one; trap 'echo two; exit 6' TERM; {WAITS}")
    until(lambda: treadle(home, "logs", id)[1] == b"one\nready\n", "the first lines")
    whole, tail = Program(home, "attach", id), Program(home, "attach", id, "--tail")
    whole.until(b"one\nready\n")
    _attached(home, tail)
    assert treadle(home, "kill", id, "--signal", "TERM") == (0, f"{id} told TERM\n".encode(), b"")
    assert whole.ended() == (6, b"two\n", b"")
    assert tail.ended() == (6, b"two\n", b"")
    assert treadle(home, "attach", id) == (6, b"one\nready\ntwo\n", b"")


def _attached(home: Path, program: Program) -> None:
    """Waits until the program holds a connection to the server."""
    folder = Path(f"/proc/{program.process.pid}/fd")
    until(lambda: any("socket" in str(each.readlink()) for each in folder.iterdir()), "a connection")


def test_one_interrupt_after_the_other(home: Path) -> None:
    program = Program(home, "run", "sh", "-c", f"{QUIET}trap 'echo int' INT; trap 'echo term' TERM; {WAITS}")
    program.until(b"ready")
    program.process.send_signal(signal.SIGINT)
    program.until(b"int")
    program.process.send_signal(signal.SIGINT)
    program.until(b"term")
    program.process.send_signal(signal.SIGINT)
    assert program.ended()[0] == 137
    quick = Program(home, "run", "sh", "-c", WAITS)
    quick.until(b"ready")
    quick.process.send_signal(signal.SIGINT)
    assert quick.ended() == (130, b"", b"")


def test_logs(home: Path) -> None:
    prints = "for n in 1 2 3; do echo out $n; done; echo err >&2; "
    id = started(home, "--", "sh", "-c", prints + QUIET + WAITS)
    live = Program(home, "logs", "-f", id)
    live.until(b"ready\n")
    assert live.printed == b"out 1\nout 2\nout 3\nready\n"
    assert treadle(home, "logs", id, "--tail", "2") == (0, b"ready\n", b"err\n")
    assert treadle(home, "kill", id)[0] == 0
    assert live.ended() == (0, b"", b"err\n")
    lines = [json.loads(line) for line in treadle(home, "logs", "-f", "--json", id)[1].splitlines()]
    assert (lines[-1]["event"], lines[-1]["reason"]) == ("end", "killed")
    assert "".join(line.get("text", "") for line in lines if line.get("stream") == "stderr") == "err\n"


def test_what_runs_is_listed(home: Path) -> None:
    id = started(home, "--name", "sleeper", "sleep", "60")
    until(lambda: run_of(home, id)["state"] == "running", "the run")
    assert re.search(rf"^{id} +running +\S+ +\S+ +sleeper: sleep 60$", treadle(home, "ps")[1].decode(), re.MULTILINE)
    told = json.loads(treadle(home, "top", "--once", "--json")[1])
    assert [run["name"] for run in told["runs"] if run["id"] == id] == ["sleeper"]
    assert told["nodes"][0]["state"] == "present"
    assert re.search(rf"^{id} ", treadle(home, "top", "--once")[1].decode(), re.MULTILINE)
    assert treadle(home, "kill", id) == (0, f"{id} told TERM\n".encode(), b"")
    until(lambda: id not in treadle(home, "ps")[1].decode(), "the end of the run")
    ended = run_of(home, id)
    assert (ended["signal"], ended["reason"]) == ("SIGTERM", "killed")
    assert treadle(home, "kill", id)[0] == 1


def test_a_server_that_is_killed_and_started_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server(home, *ONLY) as first:
        present(home)
        go = tmp_path / "go"
        script = (
            f"for n in $(seq 300); do echo line $n; done; while [ ! -e {go} ]; do sleep 0.05; done; echo end; exit 9"
        )
        program = Program(home, "run", "sh", "-c", script)
        program.until(b"line 300\n")
        _killed(first)
    with server(home, *ONLY) as second:
        go.touch()
        code, out, told = program.ended()
        assert (code, out) == (9, b"end\n")
        assert all(line.startswith(b"treadle: the server") for line in told.splitlines())
        assert second.stop() == 0


def _killed(up: Running) -> None:
    up.signal(signal.SIGKILL)
    up.ended()

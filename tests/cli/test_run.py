"""`treadle run` and `treadle attach` as processes, against a server that can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import Program, treadle
from tests.cli.scripted import KEY, Scripted, scripted


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as script:
        yield script


def test_what_it_prints_comes_byte_by_byte_and_so_does_its_code(tmp_path: Path, script: Scripted) -> None:
    out, err = random.randbytes(300_000), b"\x00\xff no text \x9b\n"
    script.prints(out[:100_000])
    script.prints(err, "stderr")
    script.prints(out[100_000:])
    script.ends(3)
    assert treadle(tmp_path, "run", "--", "a", "--on", "b") == (3, out, err)
    assert script.started == [{"argv": ["a", "--on", "b"]}]


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ({"code": 0}, 0, b""),
        ({"code": 255}, 255, b""),
        ({"code": -2, "signal": "SIGINT", "reason": "killed"}, 130, b""),
        ({"code": -9, "signal": "SIGKILL", "reason": "timeout"}, 137, b"treadle: it ran longer than it was allowed to"),
        ({"code": None, "reason": "spawn_error", "error": "there is no program x"}, 127,
         b"treadle: there is no program x"),
        ({"code": None, "reason": "spawn_error", "error": "Permission denied: x"}, 126,
         b"treadle: Permission denied: x"),
        ({"code": None, "reason": "lost", "error": None}, 1, b"treadle: the node that ran it is gone"),
        ({"code": None, "reason": "killed", "error": None, "state": "cancelled"}, 1, b"treadle: it was called off"),
    ],
)  # fmt: skip
def test_how_it_ended(tmp_path: Path, script: Scripted, end: dict[str, Any], code: int, said: bytes) -> None:
    script.ends(**end)
    assert treadle(tmp_path, "run", "x") == (code, b"", said and said + b"\n")


def test_a_stream_that_is_cut_anywhere_is_taken_up_again(tmp_path: Path, script: Scripted) -> None:
    data = random.randbytes(40_000)
    for place in range(0, len(data), 1000):
        script.prints(data[place : place + 1000], "stderr" if place % 3 == 0 else "stdout")
    script.ends(7)
    script.cuts = [1, 9, 60, 1400, 1500, 2777, 3000, 1]
    code, out, err = treadle(tmp_path, "run", "x")
    expected = [b"".join(part for stream, part in script.printed if stream == name) for name in ("stdout", "stderr")]
    assert (code, out, err) == (7, *expected)
    assert script.cuts == []
    assert len(script.streams) == 9
    assert script.streams == sorted(script.streams)


def test_bytes_that_are_gone_are_said_to_be(tmp_path: Path, script: Scripted) -> None:
    script.prints(b"0123456789")
    script.gap = (0, 4)
    script.ends()
    assert treadle(tmp_path, "run", "x") == (
        0, b"456789", b"treadle: 4 bytes that were printed here are no longer kept\n",
    )  # fmt: skip


def test_a_file_is_its_input_whatever_is_in_it(tmp_path: Path, script: Scripted) -> None:
    data = random.randbytes(500_000) + b"\r~.\n"
    script.refusals = [
        (409, "wrong_state", "Run r1 is queued; it must be running"),
        (409, "conflict", "Run r1 does not read its input"),
        (503, "unreachable", "Node loom is away"),
        (503, "stopping", "The server is stopping"),
    ]
    program = Program(tmp_path, "run", "cat", stdin=subprocess.PIPE)
    script.on_eof = script.ends
    assert program.ended(data) == (0, b"", b"")
    assert hashlib.sha256(script.taken).digest() == hashlib.sha256(data).digest()
    assert script.started[0]["stdin"] is True


@pytest.mark.parametrize("arguments", [("run", "--no-stdin", "x"), ("run", "-n", "x")])
def test_without_stdin_nothing_is_read(tmp_path: Path, script: Scripted, arguments: tuple[str, ...]) -> None:
    script.ends()
    assert treadle(tmp_path, *arguments, input=b"not for it")[0] == 0
    assert "stdin" not in script.started[0]
    assert not script.taken


def test_the_empty_file_is_no_input(tmp_path: Path, script: Scripted) -> None:
    script.ends()
    assert treadle(tmp_path, "run", "x")[0] == 0
    assert "stdin" not in script.started[0]


def test_one_interrupt_after_the_other(tmp_path: Path, script: Scripted) -> None:
    program = Program(tmp_path, "run", "x")
    script.until(lambda: script.streams, "the stream")
    for number in range(1, 4):
        program.process.send_signal(signal.SIGINT)
        script.until(lambda n=number: len(script.signals) == n, f"signal {number}")
    assert script.signals == [{"signal": "INT"}, {"signal": "TERM", "grace": 5.0}, {"signal": "KILL"}]
    program.process.send_signal(signal.SIGINT)
    assert program.ended() == (130, b"", b"treadle: the run goes on; `treadle attach r1` comes back to it\n")


def test_a_supervisor_that_ends_us_ends_the_run(tmp_path: Path, script: Scripted) -> None:
    script.on_signal = lambda _: script.ends(-15, signal="SIGTERM", reason="killed")
    program = Program(tmp_path, "run", "x")
    script.until(lambda: script.streams, "the stream")
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == (143, b"", b"")
    assert script.signals == [{"signal": "TERM", "grace": 5.0}]


def test_a_terminal_that_is_closed_leaves_the_run(tmp_path: Path, script: Scripted) -> None:
    program = Program(tmp_path, "run", "x")
    script.until(lambda: script.streams, "the stream")
    program.process.send_signal(signal.SIGHUP)
    assert program.ended()[0] == 129
    assert script.signals == []


def test_a_reader_that_has_enough_ends_the_run(tmp_path: Path, script: Scripted) -> None:
    program = Program(tmp_path, "run", "yes")
    script.until(lambda: script.streams, "the stream")
    assert program.process.stdout is not None
    program.process.stdout.close()
    program.process.stdout = None
    script.prints(b"y\n")
    assert program.ended() == (141, b"", b"")
    assert script.signals == [{"signal": "TERM", "grace": 5.0}]


def test_nobody_there_who_could_run_it(tmp_path: Path, script: Scripted) -> None:
    script.state, script.nodes = "queued", []
    code, _, err = treadle(tmp_path, "run", "x")
    assert (code, err) == (
        1,
        b"treadle: no node is present that could run this; start `treadle up` or `treadle node`\n",
    )
    assert script.signals == [{"signal": "TERM"}]  # nothing that waits is left behind


def test_nobody_free_is_worth_a_word(tmp_path: Path, script: Scripted) -> None:
    script.state = "queued"
    program = Program(tmp_path, "run", "--on", "loom", "x")
    assert program.process.stderr is not None
    assert program.process.stderr.readline() == b"treadle: waiting for a free place on a node\n"
    script.ends()
    assert program.ended() == (0, b"", b"")


def test_a_server_that_comes_back_elsewhere_is_found(tmp_path: Path) -> None:
    with scripted(tmp_path) as first:
        first.prints(b"before ")
        program = Program(tmp_path, "run", "x")
        assert program.process.stdout is not None
        assert program.process.stdout.read(7) == b"before "
        with scripted(tmp_path) as second:
            second.prints(b"before ")
            second.prints(b"after")
            second.ends(5)
            first.hangs_up()
            assert program.ended() == (5, b"after", b"")
            assert second.streams == [7]


def test_secrets_are_never_typed(tmp_path: Path, script: Scripted) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    script.ends()
    options = ("--secret", f"A=@{file}", "--secret", "B", "--env", "C=c=d", "--env", "D", "--limit", "memory=1G")
    more = ("--limit", "seconds=1.5m", "--name", "n", "--sandbox", "bwrap", "--cwd", "/x/../y", "--on", "loom")
    code, out, err = treadle(tmp_path, "run", *options, *more, "x", env={"B": "from here", "D": "d"})
    assert (code, out, err) == (0, b"", b"")
    assert script.started == [
        {"argv": ["x"], "on": "loom", "name": "n", "cwd": "/y", "env": {"C": "c=d", "D": "d"},
         "secrets": {"A": "from a file", "B": "from here"}, "sandbox": "bwrap",
         "limits": {"memory": 1 << 30, "seconds": 90.0}}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--secret", "A=open", "x"),
            "treadle: --secret A=…: others can read what is typed; say A=@FILE, or A to",
        ),
        (("--secret", "A=@/nope", "x"), "treadle: --secret A: /nope cannot be read: No such file or directory"),
        (("--secret", "NOPE_A", "x"), "treadle: --secret NOPE_A: there is no variable NOPE_A here"),
        (("--env", "NOPE_A", "x"), "treadle: --env NOPE_A: there is no variable NOPE_A here"),
        (("--limit", "memory", "x"), "treadle: --limit memory: say NAME=VALUE with one of memory, cpu, files, "),
        (("--limit", "memory=lots", "x"), "treadle: --limit memory=lots: say a number such as 1G"),
        (("--limit", "cpu=1G", "x"), "treadle: --limit cpu=1G: say a number such as 90s"),
        (("--limit", "files=1k", "x"), "treadle: --limit files=1k: say a number such as 64"),
        (("--limit", "files=0", "x"), "treadle: --limit files=0: say a number such as 64"),
        ((b"\xff",), "treadle: '\\udcff' is not text in UTF-8"),
    ],
)
def test_what_cannot_be_asked_for(
    tmp_path: Path, script: Scripted, arguments: tuple[str, ...], said: str
) -> None:  # fmt: skip
    code, out, err = treadle(tmp_path, "run", *arguments)
    assert (code, out) == (2, b"")
    assert err.decode().startswith(said)
    assert script.started == []


def test_detached_it_prints_its_id(tmp_path: Path, script: Scripted) -> None:
    assert treadle(tmp_path, "run", "--detach", "x", input=b"ignored") == (0, b"r1\n", b"")
    script.nodes = []
    code, out, err = treadle(tmp_path, "run", "-d", "x")
    assert (code, out) == (0, b"r1\n")
    assert err.startswith(b"treadle: it waits: no node is present")
    code, out, _ = treadle(tmp_path, "run", "--detach", "--json", "--pty", "x", env={"TERM": "vt100"})
    assert json.loads(out)["id"] == "r1"
    assert (script.started[-1]["env"], script.started[-1]["pty"]) == ({"TERM": "vt100"}, {"columns": 120, "rows": 40})
    assert script.streams == []


def test_as_json_each_piece_is_a_line(tmp_path: Path, script: Scripted) -> None:
    script.prints("ä".encode())
    script.prints(b"\xff", "stderr")
    script.ends(4)
    code, out, err = treadle(tmp_path, "run", "--json", "x")
    start, *pieces, end = map(json.loads, out.splitlines())
    assert (code, err, start["event"], start["run"]["id"]) == (4, b"", "start", "r1")
    assert pieces == [
        {"event": "output", "at": 0, "stream": "stdout", "text": "ä"},
        {"event": "output", "at": 2, "stream": "stderr", "base64": "/w=="},
    ]
    assert (end["event"], end["code"], end["state"]) == ("end", 4, "failed")


def test_attach_from_the_start_and_from_now_on(tmp_path: Path, script: Scripted) -> None:
    script.prints(b"old\n")
    all_of_it = Program(tmp_path, "attach", "r1")
    new = Program(tmp_path, "attach", "r1", "--tail")
    script.until(lambda: len(script.streams) == 2, "both streams")
    assert sorted(script.streams) == [0, 4]
    script.prints(b"new\n")
    script.ends(6)
    assert all_of_it.ended() == (6, b"old\nnew\n", b"")
    assert new.ended() == (6, b"new\n", b"")
    assert treadle(tmp_path, "attach", "nope") == (1, b"", b"treadle: Run nope not found\n")


def test_who_only_looks_on_does_no_harm(tmp_path: Path, script: Scripted) -> None:
    script.run = {"stdin": True}
    program = Program(tmp_path, "attach", "r1", "--no-stdin", stdin=subprocess.PIPE)
    script.until(lambda: script.streams, "the stream")
    program.process.send_signal(signal.SIGINT)
    assert program.ended(b"not for it")[0] == 130
    assert (script.signals, script.taken) == ([], b"")


def test_no_server_is_one_line(tmp_path: Path) -> None:
    code, out, err = treadle(tmp_path, "run", "x")
    assert (code, out) == (3, b"")
    assert err == f"treadle: no server runs in {tmp_path}; start `treadle up`\n".encode()
    assert KEY.encode() not in err


def test_its_way_has_no_heavy_import(tmp_path: Path, script: Scripted) -> None:
    script.prints(b"hi\n")
    script.ends()
    probe = (
        "import json, sys\nfrom treadle.cli import main\nsys.argv = ['treadle', 'run', '--', 'echo', 'hi']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={**os.environ, "TREADLE_HOME": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True, check=True,
    )  # fmt: skip
    hi, modules = done.stdout.splitlines()
    assert hi == b"hi"
    assert not {"typer", "rich", "httpx2", "asyncio", "pydantic", "treadle.client.client"} & set(json.loads(modules))

"""The terminal: its raw mode, which is always given back, its size, and the keys by which a person leaves."""

from __future__ import annotations

import os
import pty
import signal
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import SECONDS, Screen
from tests.cli.scripted import Scripted, scripted
from treadle.cli.terminal import Keys, Raw


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        ([b"ls\r"], b"ls\r", False),
        ([b"~."], b"", True),
        ([b"ls\r~.more"], b"ls\r", True),
        ([b"ls\r", b"~", b"."], b"ls\r", True),
        ([b"\r~~."], b"\r~.", False),
        ([b"\r~x~."], b"\r~x~.", False),
        ([b"a~."], b"a~.", False),
        ([b"\n~", b"\r~", b"."], b"\n~\r", True),
    ],
)
def test_leaving(typed: list[bytes], passed: bytes, left: bool) -> None:
    keys = Keys()
    outcomes = [keys.typed(data) for data in typed]
    assert (b"".join(data for data, _ in outcomes), outcomes[-1][1]) == (passed, left)


def test_a_terminal_is_given_back_as_it_was() -> None:
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        raw = Raw(theirs)
        assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        raw.restore()
        assert termios.tcgetattr(theirs) == before
        raw.enter()
        raw.restore()
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as script:
        yield script


@pytest.fixture
def screen(tmp_path: Path, script: Scripted) -> Iterator[Any]:
    opened: list[Screen] = []

    def make(*arguments: str, **more: Any) -> Screen:
        opened.append(Screen(tmp_path, *arguments, **more))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_every_key_goes_to_the_run(script: Scripted, screen: Any) -> None:
    terminal = screen("run", "--pty", "sh")
    script.prints(b"$ ")
    terminal.until(b"$ ")
    assert terminal.is_raw
    terminal.type(b"\x03\x04\x1a\x1c\xff~.\x7f")
    script.until(lambda: len(script.taken) == 8, "eight keys")
    assert script.taken == b"\x03\x04\x1a\x1c\xff~.\x7f"
    assert script.signals == []
    assert (script.started[0]["pty"], script.started[0]["env"]) == ({"columns": 90, "rows": 30}, {"TERM": "xterm"})
    script.prints(b"a\r\nb")
    terminal.until(b"a\r\nb")
    terminal.resize(70, 20)
    terminal.process.send_signal(signal.SIGWINCH)
    script.until(lambda: script.sizes == [{"columns": 70, "rows": 20}], "the new size")
    script.ends(9)
    assert terminal.process.wait(SECONDS) == 9
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_a_person_leaves_and_comes_back(script: Scripted, screen: Any) -> None:
    terminal = screen("run", "--pty", "sh")
    script.prints(b"$ ")
    terminal.until(b"$ ")
    terminal.type(b"\r~.")
    terminal.until(b"treadle: the run goes on; `treadle attach r1` comes back to it\r\n")
    assert terminal.process.wait(SECONDS) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    again = screen("attach", "r1", columns=100, rows=50)
    again.until(b"$ ")
    script.until(lambda: script.sizes == [{"columns": 100, "rows": 50}], "the size of the second terminal")
    again.type(b"x")
    script.until(lambda: script.taken.endswith(b"x"), "a key")
    script.ends(0)
    assert again.process.wait(SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_whatever_ends_us_gives_the_terminal_back(script: Scripted, screen: Any, number: signal.Signals) -> None:
    script.on_signal = lambda _: script.ends(-15, signal="SIGTERM", reason="killed")
    terminal = screen("run", "--pty", "sh")
    script.prints(b"$ ")
    terminal.until(b"$ ")
    assert terminal.is_raw
    terminal.process.send_signal(number)
    assert terminal.process.wait(SECONDS) == 128 + number
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_a_crash_gives_the_terminal_back(script: Scripted, screen: Any) -> None:
    terminal = screen("run", "--pty", "sh")
    script.prints(b"$ ")
    terminal.until(b"$ ")
    assert terminal.is_raw
    with script.changed:
        script.printed.append(("no such stream", b"x"))
        script.changed.notify_all()
    assert terminal.process.wait(SECONDS) == 1
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_without_pty_a_terminal_is_no_input(script: Scripted, screen: Any) -> None:
    terminal = screen("run", "cat")
    script.until(lambda: script.streams, "the stream")
    assert "stdin" not in script.started[0]
    assert not terminal.is_raw
    script.ends()
    assert terminal.process.wait(SECONDS) == 0


def test_top_fills_the_terminal_until_a_person_has_seen_enough(script: Scripted, screen: Any) -> None:
    terminal = screen("top", "--every", "0.1", columns=120)
    terminal.until(b"1 of 4 places busy, 1 runs wait or go on")
    terminal.until(b"loom")
    script.run = {"name": "a new one"}
    terminal.until(b"a new one: ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(SECONDS) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_who_follows_logs_may_stop(script: Scripted, screen: Any) -> None:
    terminal = screen("logs", "-f", "r1")
    script.prints(b"a line\n")
    terminal.until(b"a line\r\n")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(SECONDS) == 0
    assert script.signals == []

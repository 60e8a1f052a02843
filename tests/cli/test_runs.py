"""`treadle ps`, `logs`, `kill` and `top`, against a server that says what a test needs."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.calling import Terminal
from tests.cli.scripted import NODE, Scripted, scripted


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as script:
        yield script


@pytest.fixture
def treadle(
    script: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Terminal:  # fmt: skip
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path))
    return Terminal(monkeypatch, capfd)


def test_ps(treadle: Terminal, script: Scripted) -> None:
    script.run = {"argv": ["echo", "two words", "\x1b[2J"], "name": "greeting"}
    header, row = treadle("ps").out.splitlines()
    assert header.split() == ["run", "state", "node", "started", "code", "what"]
    assert re.match(r"r1 +running +loom +2030-01-01T00:00:00Z +greeting: echo 'two words' '\\x1b\[2J'$", row)
    assert ("GET", "/api/runs?state=running&state=queued&limit=100&offset=0") in script.asked
    assert treadle("ps", "--all", "--limit", "5", "--json").json["runs"][0]["id"] == "r1"
    assert script.asked[-1] == ("GET", "/api/runs?limit=5&offset=0")
    assert "Invalid value for '--limit'" in treadle("ps", "--limit", "0", code=2).err


def test_logs(treadle: Terminal, script: Scripted) -> None:
    script.prints(b"out\n")
    script.prints(b"err\n", "stderr")
    script.prints(b"more")
    said = treadle("logs", "r1")
    assert (said.out, said.err) == ("out\nmore", "err\n")
    assert treadle("logs", "r1", "--json").lines[1] == {
        "event": "output", "at": 4, "stream": "stderr", "text": "err\n",
    }  # fmt: skip
    assert treadle("logs", "nope", code=1).err == "treadle: Run nope not found\n"


@pytest.mark.parametrize(
    ("lines", "out", "err"),
    [("0", "", ""), ("1", "last", ""), ("2", "last", "b\n"), ("3", "\nlast", "b\n"), ("9", "a\n\nlast", "b\n")],
)
def test_the_last_lines(treadle: Terminal, script: Scripted, lines: str, out: str, err: str) -> None:
    script.prints(b"a\n\n")
    script.prints(b"b\n", "stderr")
    script.prints(b"last")
    said = treadle("logs", "r1", "--tail", lines)
    assert (said.out, said.err) == (out, err)


def test_the_last_lines_of_much(treadle: Terminal, script: Scripted) -> None:
    lines = [f"{random.random()}\n" for _ in range(60_000)]
    for place in range(0, len(lines), 3000):
        script.prints("".join(lines[place : place + 3000]).encode())
    assert treadle("logs", "r1", "--tail", "30000").out == "".join(lines[-30_000:])
    assert script.streams[0] > 0
    assert treadle("logs", "r1", "--tail", "100000").out == "".join(lines)


def test_logs_of_a_run_that_goes_on(treadle: Terminal, script: Scripted) -> None:
    script.prints(b"before\n")

    def go_on() -> None:
        script.until(lambda: script.streams, "the stream")
        script.prints(b"after\n")
        script.ends(3)

    going_on = threading.Thread(target=go_on)
    going_on.start()
    assert treadle("logs", "-f", "r1").out == "before\nafter\n"
    going_on.join()


def test_kill(treadle: Terminal, script: Scripted) -> None:
    assert treadle("kill", "r1").out == "r1 told TERM\n"
    assert treadle("kill", "r1", "--signal", "sighup").out == "r1 told HUP\n"
    assert treadle("kill", "--grace", "0.5", "-s", "INT", "r1", "--json").json[0]["id"] == "r1"
    assert script.signals == [{"signal": "TERM", "grace": 5.0}, {"signal": "HUP"}, {"signal": "INT", "grace": 0.5}]
    said = treadle("kill", "nope", "r1", code=1)
    assert (said.out, said.err) == ("r1 told TERM\n", "treadle: Run nope not found\ntreadle: 1 of 2 were refused\n")
    script.state = "cancelled"
    assert treadle("kill", "r1").out == "r1 called off\n"


def test_top(treadle: Terminal, script: Scripted) -> None:
    script.nodes = [NODE, {**NODE, "id": "n2", "name": "spindle", "state": "absent", "load": {}, "inventory": {}}]
    nodes, runs = treadle("top", "--once").out.split("\n\n")
    assert re.search(r"^loom +present +1 of 4 +12\.3 +1\.0 of 8\.0 +1$", nodes, re.MULTILINE)
    assert re.search(r"^spindle +absent +1 of 4 +2030-01-01T00:00:00Z +1$", nodes, re.MULTILINE)
    assert re.search(r"^r1 +running +loom +2030-01-01T00:00:00Z +0 +true$", runs, re.MULTILINE)
    told = treadle("top", "--once", "--json").json
    assert (told["nodes"][0]["name"], told["runs"][0]["id"], told["total"]) == ("loom", "r1", 1)


def test_top_says_how_it_is_again_and_again(
    treadle: Terminal, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", _stops_after(3))
    lines = treadle("top", "--json").out.splitlines()
    assert [json.loads(line)["total"] for line in lines] == [1, 1, 1]


def _stops_after(times: int) -> object:
    left = [times]

    def sleep(seconds: float) -> None:
        assert seconds == 1.0
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return sleep

"""The log: one line a fact, nothing lost, nothing written twice, nothing that can forge a line."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from tests.web.asking import Lines, app_of, ask, things
from treadle.web.log import Log, bridge


def test_a_fact_with_fields() -> None:
    lines = Lines()
    Log(lines.write, now=lambda: 1_795_324_172.0425).info("listener open", face="ufo", port=5000)
    assert lines.rows() == [
        {
            "timestamp": "2026-11-22T05:09:32.042Z",
            "level": "info",
            "message": "listener open",
            "face": "ufo",
            "port": 5000,
        }
    ]


def test_levels() -> None:
    lines = Lines()
    log = Log(lines.write, level="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [row["message"] for row in lines.rows()] == ["c", "d"]


def test_fields_of_any_type_can_be_said() -> None:
    lines = Lines()
    Log(lines.write).info("odd", what={1, 2} - {2}, error_type=ValueError("x"), path=complex(1, 2))
    assert lines.rows()[0]["path"] == "(1+2j)"


async def test_lines_gather_and_a_warning_is_written_at_once() -> None:
    lines = Lines()
    written = asyncio.Event()

    def write(text: bytes) -> None:
        lines.write(text)
        written.set()

    log = Log(write)
    log.info("one")
    log.info("two")
    assert lines.text == b""
    log.warning("three")
    assert [row["message"] for row in lines.rows()] == ["one", "two", "three"]
    written.clear()
    log.info("four")
    await written.wait()
    assert lines.rows()[-1]["message"] == "four"


def test_a_line_of_an_ended_loop_does_not_hold_back_the_next() -> None:
    lines = Lines()
    log = Log(lines.write)

    async def say(what: str) -> None:
        log.info(what)

    asyncio.run(say("one"))
    assert lines.text == b""
    log.info("two")
    assert [row["message"] for row in lines.rows()] == ["one", "two"]


async def test_many_lines_do_not_gather_in_memory() -> None:
    lines = Lines()
    log = Log(lines.write)
    for number in range(2000):
        log.info("x" * 100, number=number)
    assert len(lines.rows()) > 1000
    log.flush()
    assert [row["number"] for row in lines.rows()] == list(range(2000))


async def test_what_cannot_be_written_is_counted_and_said_later() -> None:
    broken = True
    lines = Lines()

    def write(text: bytes) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        lines.write(text)

    log = Log(write)
    log.warning("one")
    log.warning("two")
    broken = False
    log.warning("three")
    log.warning("four")
    assert [(row["message"], row.get("lines")) for row in lines.rows()] == [
        ("log lines lost", 2), ("three", None), ("four", None),
    ]  # fmt: skip


def test_nothing_is_lost_at_exit() -> None:
    code = (
        "import asyncio\n"
        "from treadle.web.log import stderr_log\n"
        "async def main():\n"
        "    log = stderr_log()\n"
        "    for n in range(3): log.info('fact', n=n)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert [msgspec.json.decode(line)["n"] for line in done.stderr.splitlines()] == [0, 1, 2]


async def test_eyes_get_one_safe_line() -> None:
    lines = Lines()
    log = Log(lines.write, human=True)
    app = app_of(things(), log=log)
    await ask(app, "GET", "/health")
    log.info("server ready", home="/x\x1b[2J\nforged")
    log.failed("it broke", ValueError("why\x1b[31m"))
    log.flush()
    rows = lines.text.decode().splitlines()
    assert rows[0].split("  ")[1] == "GET /health 200"
    assert "server ready  home=/x\\x1b[2J\\x0aforged" in rows[1]
    assert "error: it broke" in rows[2]
    assert rows[-1].strip() == "ValueError: why\\x1b[31m"
    assert "\x1b" not in lines.text.decode()


def test_json_lines_cannot_be_forged() -> None:
    lines = Lines()
    Log(lines.write).info("fact", agent='x"}\n{"level":"error"')
    assert len(lines.rows()) == 1


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("root_logger")
def test_what_libraries_say_comes_in_the_same_log() -> None:
    lines = Lines()
    bridge(Log(lines.write))
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("%d retries", 3)
    logging.getLogger("treadle.core.duties").info("swept")
    try:
        int("bad")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    rows = lines.rows()
    assert [(row["level"], row["message"], row["logger"]) for row in rows] == [
        ("warning", "3 retries", "some.library"),
        ("info", "swept", "treadle.core.duties"),
        ("error", "it failed", "some.library"),
    ]
    assert "ValueError: invalid literal" in rows[2]["error"]

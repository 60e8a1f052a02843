"""Streams under load and over time: how soon a line is there, floods, slow readers, many readers, silence, gaps."""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from tests.faces.console.conftest import Script
from tests.faces.console.serving import Browser, Server, shown, text_of, until
from treadle.core.fabric import Fabric
from treadle.faces.console import stream as streaming

SOON = 0.05


@pytest.mark.parametrize("end", ["\\n", "? "])
def test_a_line_and_a_prompt_are_there_soon(browser: Browser, script: Script, end: str) -> None:
    """Each carries the instant at which it was written; the middle one of many counts, for the machine has others."""
    path = script(f'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do printf "$(date +%s%N){end}"; sleep 0.1; done')
    took = []
    with browser.execute(path) as stream:
        for message in stream.messages():
            text = text_of(message).strip(" ?\n")
            if text:
                took.append(time.time() - int(text) / 1e9)
    assert len(took) == 15
    assert statistics.median(took) < SOON, took


def test_what_comes_together_is_sent_together(browser: Browser, script: Script) -> None:
    """5,000 lines are not 5,000 messages, and none is lost."""
    with browser.execute(script("seq 1 5000")) as stream:
        messages = stream.rest()
    assert shown(messages).split() == [str(number) for number in range(1, 5001)]
    assert len(messages) < 500


def test_a_progress_bar_is_a_few_snapshots(browser: Browser, script: Script) -> None:
    path = script("echo begin; for i in $(seq 1 100); do printf '\\r%3d%%' $i; sleep 0.01; done; echo; echo done")
    began = time.monotonic()
    with browser.execute(path) as stream:
        messages = stream.rest()
    snapshots = [message for message in messages if message["type"] == "html_full"]
    assert 1 <= len(snapshots) <= 4 * (time.monotonic() - began) + 2
    assert shown(messages).rstrip().splitlines() == ["begin", "100%", "done"]


def test_silence_is_broken_by_a_comment(
    browser: Browser, script: Script, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "SILENCE", 0.1)
    with browser.execute(script("stty -echo; read x"), session=name) as stream:
        lines = stream.lines()
        while stream.raw.count(": ka") < 3:
            next(lines)
        browser.type(name, "")
        rest = [line for line in lines if line]
    assert [line for line in rest if line != ": ka"] == ['data: {"type":"exit","code":0,"reason":"exited"}']


def test_a_flood_arrives_whole_or_as_what_it_ends_with(browser: Browser, script: Script) -> None:
    """30 MB at once: nobody else waits for it, and the end is right."""
    path = script("yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c 30000000; echo; echo the end")
    slow: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert browser.server.client().get("/api/health").status_code == 200
            slow.append(time.monotonic() - began)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with browser.execute(path) as stream:
            messages = stream.rest()
    finally:
        over.set()
        looking.join()
    assert messages[-1]["code"] == 0
    assert shown(messages).rstrip().endswith("the end")
    assert statistics.median(slow) < 0.2, slow


def test_a_reader_that_stands_still_stops_nobody(
    server: Server, browser: Browser, script: Script, name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends while its reader takes nothing; then the reader gets the display as it is, and the exit."""
    monkeypatch.setattr(streaming, "BEHIND", 1024 * 1024)
    monkeypatch.setattr(streaming, "PAST", 256 * 1024)
    path = script("stty -onlcr; seq 1 2000000; echo the end; touch over")
    body = f'{{"path":"{path}","session_id":"{name}"}}'
    cookie = browser.http.cookies["session"]
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", server.port))
        plain.sendall(
            f"POST /api/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Cookie: session={cookie}\r\nX-CSRF-Token: {browser.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        until((root / "over").exists, "the run's end")
        until(lambda: not browser.session(name)["running"], "the server to know it")
        read = bytearray()
        while data := plain.recv(65536):
            read += data
    assert b'"type":"html_full"' in read
    assert b"the end" in read
    assert read.count(b'"type":"exit"') == 1
    assert len(read) < 8 * 1024 * 1024


def test_a_hundred_open_streams_delay_nothing(server: Server, browser: Browser, script: Script, name: str) -> None:
    """Upstream serves four streams and then nothing else."""
    path = script("while :; do echo tick; sleep 0.1; done")
    readers: list[socket.socket] = []
    with browser.execute(path, session=name) as stream:
        stream.until("tick")
        cookie = browser.http.cookies["session"]
        try:
            for _ in range(100):
                plain = socket.create_connection(("127.0.0.1", server.port))
                readers.append(plain)
                plain.sendall(
                    f"GET /api/sessions/{name}/stream HTTP/1.1\r\nHost: localhost\r\n"
                    f"Cookie: session={cookie}\r\n\r\n".encode()
                )
            for plain in readers:
                plain.settimeout(20)
                assert b"200 OK" in plain.recv(4096)
            took = []
            for _ in range(30):
                began = time.monotonic()
                assert browser.get("/api/health")["status"] == "healthy"
                took.append(time.monotonic() - began)
            assert statistics.median(took) < SOON, took
        finally:
            for plain in readers:
                plain.close()
        browser.kill(name)
        stream.rest()


def test_what_was_not_kept_is_said(server: Server, browser: Browser, script: Script, name: str) -> None:
    with browser.execute(script("read x"), session=name) as stream:
        messages = stream.messages()
        next(messages)
        until(lambda: server.do(lambda fabric: fabric.runs.page(("running",)))[0], "it to run")

        async def lose(fabric: Fabric) -> None:
            (task, *_), _ = await fabric.runs.page(("running",))
            assert task.description == f"console {name}"
            await fabric.output.write(task.id, task.fence, 0, [("stdout", b"before\n")])
            await fabric.output.write(task.id, task.fence, 107, [("stdout", b"after\n")])

        server.do(lose)
        assert stream.until("after\n").split() == ["before", "[100", "bytes", "were", "not", "kept]", "after"]
        browser.kill(name)
        stream.rest()


def test_nothing_of_a_stream_stays(server: Server, browser: Browser, script: Script) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with browser.execute(script("true")) as stream:
        stream.rest()
    before, threads = descriptors(), threading.active_count()
    for _ in range(20):
        with browser.execute(script("true")) as stream:
            stream.rest()
    until(lambda: descriptors() <= before + 2, "descriptors to be closed")
    assert threading.active_count() <= threads + 2
    until(lambda: len(server.app.streams) == 0, "the streams to be over")

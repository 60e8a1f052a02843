"""One round of each measurement of runs: how soon a line is seen, how fast a flood passes, how soon a run speaks.

The reader is a process of its own. Lines carry the instant at which they were printed, on the clock that all processes
of a machine share (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from bench.server import Server, treadle

Figures = dict[str, Any]
LINES, PAUSE = 200, 0.02
TICKER = "import sys,time\nfor _ in range({lines}):\n print(time.monotonic_ns(),flush=True);time.sleep({pause})"
MIB = 1024 * 1024


def start(server: Server, **asked: Any) -> str:
    """A run; its id."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
    url = server.listeners["fabric"] + "/api/runs"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), headers), timeout=30) as answer:
        id: str = json.load(answer)["id"]
    return id


def lines(subscribers: int) -> Figures:
    """Milliseconds from the print of a line to its arrival at each subscriber."""
    with treadle(core=None) as server, ProcessPoolExecutor(1, get_context("spawn")) as readers:
        port = int(server.listeners["fabric"].rsplit(":", 1)[1])
        run = start(
            server, argv=[sys.executable, "-c", "input()\n" + TICKER.format(lines=LINES, pause=PAUSE)], stdin=True
        )
        reading = readers.submit(read_lines, port, run, subscribers)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
        time.sleep(1.0 + subscribers / 200)  # every subscriber is there
        go = urllib.request.Request(
            f"{server.listeners['fabric']}/api/runs/{run}/input", b'{"text":"\\n"}', headers, method="POST"
        )
        urllib.request.urlopen(go, timeout=10).close()
        taken = sorted(reading.result(120))
    assert len(taken) == LINES * subscribers, (len(taken), subscribers)
    return {"p50_ms": taken[len(taken) // 2], "p99_ms": taken[int(len(taken) * 0.99)]}


class Arrivals(asyncio.Protocol):
    """What one subscriber is sent and when it came; understood only when all is over, so that reading costs little."""

    def __init__(self, asking: bytes) -> None:
        self._asking = asking
        self.came: list[tuple[int, bytes]] = []
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._asking)

    def data_received(self, data: bytes) -> None:
        self.came.append((time.monotonic_ns(), data))

    def connection_lost(self, _: Exception | None) -> None:
        self.over.set_result(None)

    def taken(self) -> list[float]:
        """Milliseconds that each line was under way: an event came when its last byte did."""
        found, text = [], b""
        for arrived, data in self.came:
            text += data
            *events, text = text.split(b"\n\n")
            for event in events:
                said = event.rpartition(b"data: ")[2]
                if b"event: end" in event or not said.startswith(b"{"):
                    continue
                told = b64decode(json.loads(said)["data"])
                found += [(arrived - int(line)) / 1e6 for line in told.split()]
        return found


def read_lines(port: int, run: str, subscribers: int) -> list[float]:
    async def everybody() -> list[float]:
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Arrivals(asking(port, run)), "127.0.0.1", port)
                for _ in range(subscribers)]  # fmt: skip
        await asyncio.gather(*(arrivals.over for _, arrivals in made))
        return [each for _, arrivals in made for each in arrivals.taken()]

    return asyncio.run(everybody())


def asking(port: int, run: str) -> bytes:
    return (
        f"GET /api/tasks/{run}/output?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Accept: text/event-stream\r\nConnection: close\r\n\r\n"
    ).encode()


async def events(port: int, run: str) -> Any:
    """(instant, bytes) of each event of a run's output, until its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * MIB)
    writer.write(asking(port, run))
    kind = ""
    while line := await reader.readline():
        if line.startswith(b"event: "):
            kind = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            if kind == "end":
                break
            yield time.monotonic_ns(), b64decode(json.loads(line[6:])["data"])
        elif line in (b"\n", b"\r\n"):
            kind = ""
    writer.close()


def flood(mebibytes: int) -> Figures:
    """Megabytes a second from a run to a follower, start included, and the server's memory while it passes."""
    with treadle(core=None) as server, ProcessPoolExecutor(1, get_context("spawn")) as readers:
        before = server.memory_mb()
        port = int(server.listeners["fabric"].rsplit(":", 1)[1])
        began = time.monotonic()
        run = start(server, argv=["head", "-c", str(mebibytes * MIB), "/dev/zero"])
        reading = readers.submit(swallow, port, run)
        most = before
        while not reading.done():
            most = max(most, server.memory_mb())
            time.sleep(0.02)
        seconds = time.monotonic() - began
        assert reading.result() == mebibytes * MIB, reading.result()
    return {"mb_per_s": mebibytes * MIB / 1e6 / seconds, "before_mb": before, "most_mb": most}


def swallow(port: int, run: str) -> int:
    async def count() -> int:
        return sum([len(data) async for _, data in events(port, run)])

    return asyncio.run(count())


def speaks(times: int) -> Figures:
    """Milliseconds from asking for a run to its first byte: natively, by the Console's execute, and the whole CLI."""
    with treadle(core=None, console_root="/usr/bin") as server:
        native, console, cli = [], [], []
        port = int(server.listeners["fabric"].rsplit(":", 1)[1])
        environment = {**os.environ, "TREADLE_HOME": str(server.home)}
        command = [sys.executable, "-m", "treadle", "run", "--", "echo", "hi"]
        for _ in range(times):
            began = time.monotonic_ns()
            run = start(server, argv=["echo", "hi"])
            native.append((asyncio.run(first(port, run)) - began) / 1e6)
            console.append(executed(server))
            began = time.monotonic_ns()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            cli.append((time.monotonic_ns() - began) / 1e6)
    middle = statistics.median
    return {"native_ms": middle(native), "console_ms": middle(console), "cli_ms": middle(cli)}


async def first(port: int, run: str) -> int:
    async for arrived, data in events(port, run):
        if data:
            return int(arrived)
    raise RuntimeError("it printed nothing")


def executed(server: Server) -> float:
    """Milliseconds from the Console's execute to the first html of what the program printed."""
    url = server.listeners["console"]
    with urllib.request.urlopen(f"{url}/api/csrf_token", timeout=10) as answer:
        token, cookie = json.load(answer)["csrf_token"], answer.headers["Set-Cookie"].split(";")[0]
    headers = {"Content-Type": "application/json", "X-CSRF-Token": token, "Cookie": cookie}
    body = json.dumps({"path": "/usr/bin/echo", "args": "hi", "session_id": f"s{time.monotonic_ns()}"}).encode()
    began = time.monotonic_ns()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/execute", body, headers), timeout=30) as stream:
        for line in stream:
            if line.startswith(b"data: ") and json.loads(line[6:])["type"].startswith("html"):
                break
        seen = time.monotonic_ns()
        stream.read()
    return (seen - began) / 1e6

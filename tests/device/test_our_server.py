"""Our device and our constellation at our own server: dispatches over HTTP that a real machine carries out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faces.ufo.serving import SECONDS, Server, until
from treadle.client.constellation import Constellation

Begin = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def begin(up: Server, tmp_path: Path) -> Iterator[Begin]:
    """Starts devices, and ends them behind the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def one(name: str, *options: str) -> subprocess.Popen[bytes]:
        words = ["device", "--server", up.socket, "--id", name, "--home", str(tmp_path / "home"), *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "treadle", *words], env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=None
        )
        begun.append(process)
        return process

    yield one
    for process in begun:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0


def carried_out(up: Server, client_id: str, request: str) -> dict[str, Any]:
    """The result of a dispatch."""
    receipt = up.http.post("/api/dispatch", json={"client_id": client_id, "request": request}).json()
    answer = up.http.get(f"/api/task_result/{receipt['task_name']}", params={"wait": 15}).json()
    assert answer["status"] == "done", answer
    result: dict[str, Any] = answer["result"]
    assert result["session_id"] == receipt["session_id"]
    return result


def test_a_dispatch_runs_a_command_on_the_device(up: Server, begin: Begin, tmp_path: Path) -> None:
    begin("lab-1", "--root", str(tmp_path))
    up.online("lab-1")
    result = carried_out(up, "lab-1", "run: echo $((40+2)) > note; cat note")
    assert result["status"] == "completed"
    assert "42" in str(result["output"])
    assert (tmp_path / "note").read_text() == "42\n"
    result = carried_out(up, "lab-1", "run: echo broken >&2; exit 3")
    assert result["status"] == "failed"
    assert result["error"]
    result = carried_out(up, "lab-1", 'read_file {"path": "note"}')
    assert (result["status"], "42" in str(result["output"])) == ("completed", True)


def test_a_device_that_executes_gets_the_request_whole(up: Server, begin: Begin) -> None:
    begin("lab-1", "--executes", "--executor", "tr a-z A-Z")
    up.online("lab-1")
    result = carried_out(up, "lab-1", "please tidy the laboratory")
    assert result["status"] == "completed"
    assert "PLEASE TIDY THE LABORATORY" in str(result["output"])


async def test_a_constellation_commands_several_devices(up: Server, begin: Begin) -> None:
    for name in ("lab-1", "lab-2"):
        begin(name)
        await asyncio.to_thread(up.online, *(["lab-1"] if name == "lab-1" else ["lab-1", "lab-2"]))
    async with Constellation(up.socket, "night") as night:
        ended = await night.run(
            {"lab-1": "run: echo one", "lab-2": "run: echo two; exit 1", "lab-3": "run: true"}, timeout=20
        )
        assert (await night.info("lab-1"))["device_id"] == "lab-1"
    assert ended["lab-1"].ok
    assert "one" in str(ended["lab-1"].result)
    assert (ended["lab-2"].ok, bool(ended["lab-2"].error)) == (False, True)
    assert (ended["lab-3"].ok, bool(ended["lab-3"].error)) == (False, True)


def test_a_device_that_executes_still_runs_what_the_server_commands(up: Server, begin: Begin) -> None:
    begin("lab-1", "--executes", "--executor", "sleep 300")
    up.online("lab-1")
    result = carried_out(up, "lab-1", "run: echo by command")
    assert (result["status"], "by command" in str(result["output"])) == ("completed", True)


def test_a_device_that_is_killed_fails_its_task_and_leaves_nothing(up: Server, begin: Begin, tmp_path: Path) -> None:
    process = begin("lab-1", "--root", str(tmp_path))
    up.online("lab-1")
    request = "run: echo $$ > pid; exec sleep 300"
    receipt = up.http.post("/api/dispatch", json={"client_id": "lab-1", "request": request}).json()
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"), "the command")
    begun = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait(SECONDS)
    answer = up.http.get(f"/api/task_result/{receipt['task_name']}", params={"wait": 15}).json()
    assert answer["result"]["status"] == "failed"
    until(lambda: not Path(f"/proc/{begun}").exists(), "its end")

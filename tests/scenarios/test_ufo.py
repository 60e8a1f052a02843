"""Devices on bad days, with a real server: it is killed in the middle of a session, a device is killed in the middle of
a command, the network is cut or falls silent. What was acknowledged is told, and the next task goes well."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faces.ufo.stock import SECONDS, device
from tests.scenarios.serving import Running, command, environment, server, until
from treadle.faces.ufo.results import LOST
from treadle.faces.ufo.workers import STOPPING

KILLED_SECONDS = 90.0
"""A lease (60 s) and the sweep behind it."""


class Devices:
    """The UFO address of a server."""

    def __init__(self, up: Running) -> None:
        self.up = up

    @property
    def socket(self) -> str:
        return self.up.urls["ufo"].replace("http", "ws", 1) + "/ws"

    def online(self, *ids: str) -> None:
        until(lambda: self.up.ask("ufo", "/api/clients")[1]["online_clients"] == list(ids), f"{ids} online")

    def dispatch(self, name: str, request: str, client_id: str = "d1") -> dict[str, Any]:
        body = {"client_id": client_id, "request": request, "task_name": name}
        status, receipt = self.up.ask("ufo", "/api/dispatch", body)
        assert status == 200, receipt
        found: dict[str, Any] = receipt
        return found

    def shown(self, name: str, wait: float = 0) -> dict[str, Any]:
        status, told = self.up.ask("ufo", f"/api/task_result/{name}?wait={wait}")
        assert status == 200, told
        found: dict[str, Any] = told
        return found

    def result(self, name: str, seconds: float = SECONDS) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (told := self.shown(name, 5))["status"] == "pending":
            assert time.monotonic() < deadline, f"{name} is still pending"
        found: dict[str, Any] = told["result"]
        return found


class Held:
    """A tool that begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _: dict[str, Any]) -> dict[str, Any]:
        self.begun.set()
        self.go_on.wait(2 * KILLED_SECONDS)
        return {"success": True, "exit_code": 0, "stdout": "late", "stderr": ""}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_server_is_killed_in_the_middle_of_a_session(tmp_path: Path) -> None:
    held = Held()
    home = tmp_path / "home"
    with server(home) as up:
        ours = Devices(up)
        with device(ours.socket, "d1", tools={"execute_command": held}):
            ours.online("d1")
            held.go_on.set()
            ours.dispatch("before", "run: echo x")
            before = ours.result("before")
            held.begun.clear()
            held.go_on.clear()
            running = ours.dispatch("running", "run: sleep 1000")
            assert held.begun.wait(SECONDS)
            ours.dispatch("waiting", "run: echo later")
            up.signal(signal.SIGKILL)
            up.ended()
            held.go_on.set()
    with server(home) as up:
        ours = Devices(up)
        assert ours.result("before") == before
        assert ours.shown("running") == {"status": "pending"}
        assert ours.shown("waiting") == {"status": "pending"}
        with device(ours.socket, "d1"):
            assert ours.result("waiting")["output"] == "later"
            lost = ours.result("running", KILLED_SECONDS)
            assert (lost["status"], lost["error"]) == ("failed", LOST)
            assert lost["session_id"] == running["session_id"]


def test_a_device_is_killed_in_the_middle_of_a_command(tmp_path: Path) -> None:
    with server(tmp_path / "home") as up:
        ours = Devices(up)
        mark = tmp_path / "begun"
        with real_device(tmp_path, ours.socket) as process:
            ours.online("d1")
            ours.dispatch("cut", f"run: touch {mark}; sleep 1000")
            until(mark.exists, "the command to begin")
            process.kill()
            cut = ours.result("cut")
            assert (cut["status"], cut["output"]) == ("failed", None)
            assert "disconnected" in cut["error"]
            ours.online()
        with real_device(tmp_path, ours.socket):
            ours.online("d1")
            ours.dispatch("again", "run: echo here")
            assert ours.result("again")["output"] == "here"


def test_the_network_is_cut_in_the_middle_of_a_command(tmp_path: Path) -> None:
    held = Held()
    with server(tmp_path / "home") as up, network(up.urls["ufo"]) as net:
        ours = Devices(up)
        with device(f"ws://{net.address}/ws", "d1", tools={"execute_command": held}):
            ours.online("d1")
            ours.dispatch("cut", "run: x")
            ours.dispatch("next", "run: echo next")
            assert held.begun.wait(SECONDS)
            net.cut()
            cut = ours.result("cut")
            assert cut["status"] == "failed"
            assert "disconnected" in cut["error"]
            held.go_on.set()
        with device(f"ws://{net.address}/ws", "d1"):
            assert ours.result("next")["output"] == "next"


def test_the_network_falls_silent_in_the_middle_of_a_command(tmp_path: Path) -> None:
    """Nobody hears of it; the device that comes again finds out that its former self is dead, and has its id back."""
    held = Held()
    with server(tmp_path / "home") as up, network(up.urls["ufo"]) as net:
        ours = Devices(up)
        with device(f"ws://{net.address}/ws", "d1", tools={"execute_command": held}):
            ours.online("d1")
            ours.dispatch("silent", "run: x")
            assert held.begun.wait(SECONDS)
            net.freeze()
            with device(ours.socket, "d1"):
                told = ours.result("silent")
                assert told["status"] == "failed"
                ours.dispatch("again", "run: echo heard")
                assert ours.result("again")["output"] == "heard"
            net.cut()
            held.go_on.set()


def test_an_answer_that_is_lost_is_found_by_its_name(tmp_path: Path) -> None:
    """The caller that chose the name asks for the result as if nothing had happened; the task ran once."""
    with server(tmp_path / "home") as up, network(up.urls["ufo"]) as net:
        ours = Devices(up)
        with device(ours.socket, "d1") as connected:
            ours.online("d1")
            body = json.dumps({"client_id": "d1", "request": "run: echo once", "task_name": "mine"}).encode()
            asked = urllib.request.Request(
                f"http://{net.address}/api/dispatch", body, {"Content-Type": "application/json"}
            )
            net.lose_answers = True
            with pytest.raises((urllib.error.URLError, OSError)):
                urllib.request.urlopen(asked, timeout=SECONDS)
            assert ours.result("mine")["output"] == "once"
            assert len(connected.all("task")) == 1


def test_a_clean_stop_says_so_to_everybody(tmp_path: Path) -> None:
    held = Held()
    home = tmp_path / "home"
    with server(home) as up:
        ours = Devices(up)
        with device(ours.socket, "d1", tools={"execute_command": held}):
            ours.online("d1")
            ours.dispatch("running", "run: x")
            assert held.begun.wait(SECONDS)
            assert up.stop() == 0
            held.go_on.set()
    with server(home) as up:
        told = Devices(up).shown("running")["result"]
        assert (told["status"], told["error"]) == ("failed", STOPPING)


@contextmanager
def real_device(tmp_path: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Our own device client, a process of its own."""
    home = tmp_path / "device"
    process = subprocess.Popen(
        command("device", "--server", url, "--id", "d1", "--home", home),
        env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait(SECONDS)


class Network:
    """A relay of TCP connections to a server, which can be cut, or fall silent, or lose what the server answers."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._door.getsockname())
        self.lose_answers = False
        self._silent = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                inner = socket.create_connection(self._server)
                self._open += [client, inner]
                for source, sink, answers in ((client, inner, False), (inner, client, True)):
                    threading.Thread(target=self._pump, args=(source, sink, answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._silent.is_set():
                    return
                if answers and self.lose_answers:
                    break
                sink.sendall(data)
            for end in (source, sink):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """All connections break."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._silent.set()

    def close(self) -> None:
        self._door.close()
        self.cut()
        for end in self._open:
            end.close()


@contextmanager
def network(url: str) -> Iterator[Network]:
    made = Network(url)
    try:
        yield made
    finally:
        made.close()

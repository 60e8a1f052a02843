"""Servers and nodes as processes of their own, and runs on them as a caller sees them: over HTTP, with the key."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.scenarios.serving import START_SECONDS, Refused, Running, command, environment, until
from treadle.node.spawning import MARK

ONLY = ("--listen", "fabric=127.0.0.1:0")
FINAL = ("succeeded", "failed", "cancelled")
SECONDS = 60.0

PRINT = """
import random, sys, time
made, size, pause = random.Random(7), int(sys.argv[1]), float(sys.argv[2])
while size:
    piece = made.randbytes(min(size, 65536))
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    time.sleep(pause)
    size -= len(piece)
"""


def printing(size: int, pause: float = 0.0) -> list[str]:
    """A command that prints so many bytes that look like none other."""
    return [sys.executable, "-c", PRINT, str(size), str(pause)]


def expected(size: int) -> str:
    """The SHA-256 of what `printing` prints."""
    made, digest = random.Random(7), hashlib.sha256()
    while size:
        piece = made.randbytes(min(size, 65536))
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


class Caller:
    """Somebody with the key of a home, who speaks with whichever server is up there."""

    def __init__(self, up: Running, home: Path) -> None:
        self.up = up
        self.key = (home / "secrets" / "local.key").read_text().strip()

    def ask(self, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        asked = urllib.request.Request(self.up.urls["fabric"] + path, data, headers, method=method or None)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                said = answer.read()
                return answer.status, json.loads(said) if said else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def must(self, path: str, body: Any = None, method: str = "") -> Any:
        status, said = self.ask(path, body, method)
        assert status < 300, (path, status, said)
        return said

    def start(self, *argv: str, **how: Any) -> str:
        """The id of a new run of an argument list, or of `shell` text."""
        made = self.must("/api/runs", {**({"argv": argv} if argv else {}), **how})
        return str(made["id"])

    def run(self, id: str) -> Any:
        return self.must(f"/api/runs/{id}")

    def ended(self, id: str) -> Any:
        """The run, once it has ended."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            run = self.must(f"/api/runs/{id}?wait=20")
            if run["state"] in FINAL:
                return run
        raise AssertionError(f"it has not ended: {run}")

    def in_state(self, id: str, state: str) -> None:
        until(lambda: self.run(id)["state"] == state, f"the run to be {state}")

    def raw(self, id: str) -> bytes:
        """All that is kept of what it printed so far."""
        headers = {"Accept": "application/octet-stream", "Authorization": f"Bearer {self.key}"}
        asked = urllib.request.Request(self.up.urls["fabric"] + f"/api/tasks/{id}/output", headers=headers)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            data: bytes = answer.read()
            return data

    def prints(self, id: str, text: bytes) -> None:
        """Waits until it has printed this."""
        until(lambda: text in self.raw(id), f"{text!r} to be printed")

    def nodes(self) -> dict[str, Any]:
        return {node["name"]: node for node in self.must("/api/queue/nodes")["nodes"]}


class Follower:
    """Follows what a run prints, as one stream of events; comes back where it was whenever the stream is cut."""

    def __init__(self, caller: Caller, id: str) -> None:
        self._caller, self._id = caller, id
        self.digest = hashlib.sha256()
        self.at, self.cuts, self.end = 0, 0, {}  # type: int, int, dict[str, Any]
        self._last: dict[str, str] = {}
        self._thread = threading.Thread(target=self._follow, name=f"follower of {id}", daemon=True)
        self._thread.start()

    def finished(self) -> dict[str, Any]:
        """How the stream ended."""
        self._thread.join(SECONDS)
        assert self.end, f"no end after {self.at} bytes"
        return self.end

    def _follow(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.end and time.monotonic() < deadline:
            try:
                self._listen()
            except (OSError, urllib.error.URLError):
                time.sleep(0.02)  # nobody is there to come back to yet
            self.cuts += not self.end

    def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {self._caller.key}", **self._last}
        url = f"{self._caller.up.urls['fabric']}/api/tasks/{self._id}/output"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as stream:
            event: dict[str, str] = {}
            for line in stream:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif "data" in event:
                    self._take(event)
                    event = {}

    def _take(self, event: dict[str, str]) -> None:
        said = json.loads(event["data"])
        match event.get("event"):
            case "end":
                self.end = said
            case None:
                data = base64.b64decode(said["data"])
                assert int(event["id"]) == self.at + len(data)
                self.digest.update(data)
                self.at += len(data)
                self._last = {"Last-Event-ID": event["id"]}
            case other:
                raise AssertionError(other)


class NodeProcess:
    """`treadle node` in a process of its own, joined."""

    def __init__(self, process: subprocess.Popen[bytes], said: dict[str, Any], log: Path) -> None:
        self.process, self.id, self._log = process, said["node"], log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)


@contextlib.contextmanager
def node(home: Path, *arguments: str | Path, keep: bool = False) -> Iterator[NodeProcess]:
    """A node in this home that has joined; whatever still runs at the end is killed, but with `keep` only the node."""
    folder = home.with_name(f"{home.name}-{time.monotonic_ns()}")
    folder.mkdir(parents=True)
    ready, log = folder / "ready.json", folder / "stderr"
    with log.open("wb") as err:
        process = subprocess.Popen(
            command("node", "--ready-file", ready, *arguments),
            env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
        )  # fmt: skip
    try:
        until(lambda: ready.exists() or process.poll() is not None, "the node to join")
        assert process.poll() is None, log.read_text("utf-8")
        yield NodeProcess(process, json.loads(ready.read_bytes()), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if not keep:
            end_all(home)


def refused_node(home: Path, *arguments: str | Path) -> Refused:
    """A start of a node that is expected to fail."""
    done = subprocess.run(
        command("node", *arguments),
        env=environment(home), capture_output=True, text=True, timeout=START_SECONDS, check=False,
    )  # fmt: skip
    return Refused(done.returncode, done.stdout, done.stderr)


def left_of(home: Path) -> list[int]:
    """The living processes of runs of the node in this home, without their holders."""
    mark = f"{MARK}={home}/".encode()
    return [pid for pid in pids() if mark in read(f"/proc/{pid}/environ") and not is_zombie(pid)]


def holders_of(home: Path) -> list[int]:
    """The living holders of this home's node."""
    folder = f"\0{home}/node/".encode()
    return [pid for pid in pids() if folder in read(f"/proc/{pid}/cmdline") and not is_zombie(pid)]


def end_all(home: Path) -> None:
    """End what a scenario left: holders take their commands with them."""
    for pid in (*holders_of(home), *left_of(home)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def is_zombie(pid: int) -> bool:
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""  # it ended meanwhile


def nothing_left(home: Path) -> None:
    until(lambda: not left_of(home) and not holders_of(home), "all processes of runs to be gone")

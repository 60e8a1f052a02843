"""A real server as a scenario sees it: a process of its own in a home of its own, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treadle.settings import FACES

START_SECONDS = 20.0
STOP_SECONDS = 20.0
ANYWHERE = tuple(f"--listen={face}=127.0.0.1:0" for face, default in FACES.items() if default)


def listening(arguments: Sequence[str | Path], extra: Mapping[str, str]) -> tuple[str, ...]:
    """What to say of the faces that these arguments do not speak of: nothing said at all is every face on a free port,
    else those that neither arguments nor variables name are off.
    """
    said = " ".join((*map(str, arguments), *(f"{name.lower().partition('_')[0]}=" for name in extra)))
    if "listen" not in said:
        return ANYWHERE
    return tuple(f"--listen={face}=off" for face, default in FACES.items() if default and f"{face}=" not in said)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "treadle", *map(str, arguments)]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without settings of ours, but with this home."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TREADLE_", "TASKDRIVER_"))}
    return plain | {"TREADLE_HOME": str(home), **(extra or {})}


@dataclass
class Refused:
    """How a start ended that did not come to anything."""

    code: int
    stdout: str
    stderr: str

    @property
    def line(self) -> str:
        """The one line that says why."""
        (line,) = self.stderr.splitlines()
        return line


def refused(home: Path, *arguments: str | Path, **extra: str) -> Refused:
    """A start that is expected to fail."""
    done = subprocess.run(
        command("up", *arguments),
        env=environment(home, extra), capture_output=True, text=True, timeout=START_SECONDS, check=False,
    )  # fmt: skip
    return Refused(done.returncode, done.stdout, done.stderr)


class Running:
    """A server that is ready; `said` is its ready file, `log` what it wrote on stderr so far."""

    def __init__(self, process: subprocess.Popen[bytes], said: dict[str, Any], folder: Path) -> None:
        self.process, self.said, self._folder = process, said, folder

    @property
    def urls(self) -> dict[str, str]:
        urls: dict[str, str] = self.said["listeners"]
        return urls

    @property
    def log(self) -> str:
        return (self._folder / "stderr").read_text("utf-8")

    @property
    def printed(self) -> str:
        """What it says on stdout: all at once, right after the ready file is there."""
        stdout = self._folder / "stdout"
        until(lambda: stdout.stat().st_size > 0, "the table of addresses")
        return stdout.read_text("utf-8")

    def logged(self, words: str) -> None:
        """Waits until the log has these words."""
        until(lambda: words in self.log, f"{words!r} in the log")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Waits for the end; the exit code."""
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def ask(
        self, face: str, path: str, body: Any = None, *, token: str = "", key: str = "", method: str = ""
    ) -> tuple[int, Any]:
        """Status and decoded answer of one request; a body makes it a POST."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["X-API-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.urls[face] + path, data, headers, method=method or None)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def login(self, agent: str = "w1", project: str = "default") -> str:
        """A session's token on the TaskDriver face."""
        status, answer = self.ask("taskdriver", "/api/auth/login", {"agentName": agent, "projectId": project})
        assert status == 200, answer
        return str(answer["data"]["token"])


@contextlib.contextmanager
def server(home: Path, *arguments: str | Path, verb: str = "up", **extra: str) -> Iterator[Running]:
    """A server in this home, ready; whatever still runs at the end is killed."""
    folder = home.with_name(f"{home.name}-{time.monotonic_ns()}")
    folder.mkdir(parents=True)
    ready = folder / "ready.json"
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command(verb, "--ready-file", ready, *listening(arguments, extra), *arguments),
            env=environment(home, extra), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
    try:
        until(lambda: ready.exists() or process.poll() is not None, "the server to be ready")
        assert process.poll() is None, (folder / "stderr").read_text("utf-8")
        yield Running(process, json.loads(ready.read_bytes()), folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(is_so: Any, what: str) -> None:
    """Looks every few milliseconds until it is so; fails after the deadline."""
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)

"""A real `treadle up` on free ports and a home of its own, pinned to core 0, for as long as a measurement takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, its process, its key, how long it took to be ready."""

    pid: int
    home: Path
    seconds_to_ready: float
    listeners: dict[str, str]

    @property
    def port(self) -> int:
        return int(self.listeners["taskdriver"].rsplit(":", 1)[1])

    @property
    def key(self) -> str:
        return (self.home / "secrets" / "local.key").read_text().strip()

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> Any:
        """One TaskDriver call; the `data` of its answer."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.listeners["taskdriver"] + path, data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["data"]

    def login(self, agent: str, project: str = "default") -> str:
        token: str = self.call("POST", "/api/auth/login", {"agentName": agent, "projectId": project})["token"]
        return token

    def memory_mb(self) -> float:
        """Resident memory, megabytes (10^6 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def treadle(
    home: Path | None = None, *, store: str | None = None, core: int | None = 0, console_root: str = ""
) -> Iterator[Server]:
    """Starts the server, waits until it is ready, stops it cleanly. Rate limits are off; logs go nowhere.

    `core` pins it to one core, as the load runs on the other; None leaves it both.
    """
    with tempfile.TemporaryDirectory(prefix="treadle-bench-", dir="/var/tmp") as folder:
        home = home or Path(folder) / "home"
        ready = Path(folder) / "ready.json"
        faces = ("taskdriver", "fabric", "console", "ufo")
        listen = [each for face in faces for each in ("--listen", f"{face}=127.0.0.1:0")]
        command = [sys.executable, "-m", "treadle", "up", "--home", str(home), "--ready-file", str(ready), *listen]
        pinned = [] if core is None or (os.cpu_count() or 1) < 2 else ["taskset", "-c", str(core)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TREADLE_")}
        environment |= {"TREADLE_TASKDRIVER_RATE_LIMIT": "0", "TREADLE_FABRIC_RATE_LIMIT": "0"}
        if console_root:
            environment["UA_BROWSE_ROOTS"] = console_root
        if store:
            environment["TREADLE_STORE"] = store
        began = time.monotonic()
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen([*pinned, *command], env=environment, stdout=log, stderr=log)
            try:
                while not ready.exists():
                    if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                        log.seek(0)
                        raise RuntimeError(f"the server did not start: {log.read()[-2000:]}")
                    time.sleep(0.005)
                took = time.monotonic() - began
                told = json.loads(ready.read_text())
                yield Server(told["pid"], home, took, told["listeners"])
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

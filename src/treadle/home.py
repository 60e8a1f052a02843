"""The home: the folder in which a server keeps everything, closed to other users and held by one process at a time."""

import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

CONTENT = frozenset({"console", "lock", "node", "output", "secrets", "server.json", "treadle.db", "treadle.toml"})
"""Names by which an existing folder is known to be a home."""
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


class Unusable(Exception):
    """The folder cannot be a home, or not now: one line that says why and what to do."""


class Home:
    """A home that this process holds until `close`. Raises Unusable when it cannot be had.

    The folder is made, with mode 0700, where it is missing; one that was open to others is closed to them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _prepare(path)
            self._lock = _lock(path)
        except OSError as error:
            raise Unusable(f"the home {path} cannot be used: {_reason(error)}; name another with --home") from error

    @property
    def database(self) -> Path:
        return self.path / "treadle.db"

    def folder(self, name: str) -> Path:
        """A folder of the home, made where it is missing."""
        path = self.path / name
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        return path

    @property
    def key_file(self) -> Path:
        return self.path / "secrets" / "local.key"

    def local_key(self) -> str:
        """The key with which programs of this user are let in; made at the first start."""
        try:
            self.key_file.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            self.key_file.parent.chmod(PRIVATE_FOLDER)
            if not self.key_file.exists():
                write_private(self.key_file, secrets.token_urlsafe(32).encode() + b"\n")
            self.key_file.chmod(PRIVATE_FILE)
            key = self.key_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{self.key_file} cannot be used: {_reason(error)}") from error
        if not key:
            raise Unusable(f"{self.key_file} is empty; delete it and the next start makes a new key")
        return key

    def announce(self, server: dict[str, Any], ready_file: Path | None = None) -> None:
        """Say where the server is reached: in server.json for programs of this user, and in the file asked for."""
        line = msgspec.json.encode(server) + b"\n"
        for path in (self.path / "server.json", *([ready_file] if ready_file else [])):
            try:
                write_private(path, line)
            except OSError as error:
                raise Unusable(f"{path} cannot be written: {_reason(error)}") from error

    def withdraw(self, ready_file: Path | None = None) -> None:
        """Take back what a server said: it is not, or not yet, reached here."""
        for path in (self.path / "server.json", *([ready_file] if ready_file else [])):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise Unusable(f"{path} cannot be removed: {_reason(error)}") from error

    def close(self) -> None:
        """Let go of the home; safe to call twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, so that it is seen whole or not at all, also after a power cut."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _prepare(path: Path) -> None:
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if not path.stat().st_mode & 0o077:
        return
    names = set(os.listdir(path))
    if names and not names & CONTENT:
        raise Unusable(f"{path} is open to other users and holds other things; name another folder with --home")
    path.chmod(PRIVATE_FOLDER)


def _lock(path: Path) -> int:
    """The open, locked file that says who holds the home; the kernel lets go of it when the process ends."""
    held = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        holder = os.pread(held, 20, 0).decode("ascii", "replace").strip()
        os.close(held)
        if error.errno != errno.EWOULDBLOCK:
            raise
        known = f" (process {holder})" if holder else ""
        raise Unusable(f"another server{known} holds {path}; stop it, or name another home with --home") from None
    return held


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)

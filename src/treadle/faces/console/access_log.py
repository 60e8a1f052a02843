"""The access log: who asked what of this face and was let in or not, in a short memory and a file (spec 7)."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

Level = Literal["access_denied", "access", "disabled"]
"""What is noted: who was turned away, everybody, or nobody."""
LEVELS: tuple[Level, ...] = ("access_denied", "access", "disabled")

MOST_ENTRIES = 200
FILE_SIZE = 5 * 1000 * 1000
"""Bytes after which the file becomes `access.1.jsonl`, taking the place of the one before it."""
DENIED = frozenset({401, 403, 429})

_SHOWN = ("content-type", "origin", "user-agent", "x-forwarded-for")
_MASKED = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-csrf-token")
_LONGEST = 300  # characters of one text: what a stranger sends fills no disk
_PRIVATE = 0o600


class Entry(Struct, frozen=True):
    """One request. `endpoint` is its path without the query; `user` is empty for a stranger."""

    timestamp: str
    endpoint: str
    method: str
    remote_address: str
    user: str
    success: bool
    status: int
    headers: dict[str, str]


class AccessLog:
    """The newest entries in memory, all in `access.jsonl` in the folder (made where missing; files are mode 0600).

    Entries and the level outlive a restart. `trouble` is told when the file cannot be written: nobody is turned away
    for that, and the memory goes on.
    """

    def __init__(self, folder: Path, trouble: Callable[[OSError], None]) -> None:
        self._file, self._level_file = folder / "access.jsonl", folder / "access.level"
        self._trouble = trouble
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._level = _read_level(self._level_file)
        self._entries = deque(_last_entries(self._file), MOST_ENTRIES)
        if _is_cut(self._file):
            _append(self._file, b"\n")

    @property
    def level(self) -> Level:
        return self._level

    async def set_level(self, level: Level) -> None:
        """From now on; raises OSError, and leaves the level as it was, when that cannot be kept."""
        draft = self._level_file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        _append(draft, level.encode())
        draft.replace(self._level_file)
        self._level = level

    def entries(self, n: int = 50) -> list[Entry]:
        """The newest entries, newest first; at most `n`, and never more than 200."""
        return list(reversed(self._entries))[: min(max(n, 0), MOST_ENTRIES)]

    def note(
        self,
        *,
        endpoint: str,
        method: str,
        remote_address: str,
        user: str,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        now: int,
        denied: bool | None = None,
    ) -> None:
        """Note an answered request if the level says so; `now` is microseconds UTC.

        `denied` says what the status does not: a login page that says "wrong password" has status 200.
        """
        denied = status in DENIED if denied is None else denied
        if self._level == "disabled" or (self._level == "access_denied" and not denied):
            return
        entry = Entry(
            timestamp=_instant(now),
            endpoint=_short(re.split("[?#]", endpoint, maxsplit=1)[0]),
            method=_short(method),
            remote_address=_short(remote_address),
            user=_short(user),
            success=status < 400 and not denied,
            status=status,
            headers=shown_headers({name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}),
        )
        self._entries.append(entry)
        try:
            if _append(self._file, msgspec.json.encode(entry) + b"\n") >= FILE_SIZE:
                self._file.replace(self._file.with_name("access.1.jsonl"))
        except OSError as error:
            self._trouble(error)


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers worth noting: of a credential only that there was one, of a referrer only the page."""
    shown = {name: _short(headers[name]) for name in _SHOWN if name in headers}
    if "referer" in headers:
        shown["referer"] = _short(re.sub("[?#].*|(?<=//)[^/@]*@", "", headers["referer"], flags=re.DOTALL))
    for name in _MASKED:
        if name in headers:
            scheme = re.match("(?i)(basic|bearer|digest) ", headers[name])
            shown[name] = f"{scheme.group(1)} ***" if scheme else "***"
    return shown


def _instant(now: int) -> str:
    return datetime.fromtimestamp(now / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _append(path: Path, content: bytes) -> int:
    """How long the file, which only this user can read, then is."""
    with open(
        os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE), "ab", buffering=0
    ) as file:
        file.write(content)  # one write: lines of several writers do not mix
        return os.fstat(file.fileno()).st_size


def _read_level(path: Path) -> Level:
    told = path.read_text("ascii", "replace").strip() if path.exists() else ""
    return next((level for level in LEVELS if level == told), "access_denied")


def _is_cut(path: Path) -> bool:
    """Whether a crash left half a line at the end, to which the next one must not be added."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _last_entries(path: Path) -> list[Entry]:
    """The end of the file; a line that was cut off by a crash is left out."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MOST_ENTRIES * 4096))
        lines = file.read().split(b"\n")
    entries = []
    for line in lines[-MOST_ENTRIES - 1 :]:
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.DecodeError:
            continue
    return entries

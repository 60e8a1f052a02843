"""Answers that the server may not have: in files of the device's folder until it is known that they arrived."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import DecodeError, Struct, msgpack

from treadle.home import write_private

from .dialogue import Key

MOST_FILES = 500
MOST_BYTES = 256 * 1024 * 1024
OLDEST = 3600.0
"""Seconds after which nobody waits for an answer any more."""
RECENT_BYTES = 16 * 1024 * 1024


class Answer(Struct, frozen=True):
    """A frame as it is to be sent, and what it answers."""

    key: Key
    frame: bytes
    at: float


class Unsent:
    """The answers on their way. `now` gives the seconds since 1970; the oldest go when there are too many.

    Delivered ones are remembered in memory for a while: a server may ask again for what it has.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float],
        *,
        most_files: int = MOST_FILES,
        most_bytes: int = MOST_BYTES,
        oldest: float = OLDEST,
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._now = folder, now
        self._most_files, self._most_bytes, self._oldest = most_files, most_bytes, oldest
        self._sizes: dict[Key, tuple[Path, int, float]] = {}
        self._recent: dict[Key, bytes] = {}
        self._serial = 0
        for path in sorted(folder.iterdir()):
            answer = _read(path)
            if answer is None:
                path.unlink()
                continue
            self._serial = int(path.name.split("-")[0])
            self._sizes[answer.key] = (path, len(answer.frame), answer.at)
        self._tidy()

    async def keep(self, key: Key, frame: bytes) -> None:
        """Keep an answer until `delivered`. Raises OSError when the disk does not take it; then it is not kept."""
        answer = Answer(key, frame, self._now())
        self._serial += 1
        path = self._folder / f"{self._serial:012d}-{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}"
        await asyncio.to_thread(write_private, path, msgpack.encode(answer))
        self._sizes[key] = (path, len(frame), answer.at)
        self._tidy()

    def waiting(self) -> list[Key]:
        """What is kept, oldest first."""
        self._tidy()
        return list(self._sizes)

    def frame(self, key: Key) -> bytes | None:
        """The answer, if it is kept or was delivered not long ago."""
        if key in self._sizes:
            answer = _read(self._sizes[key][0])
            return None if answer is None else answer.frame
        return self._recent.get(key)

    def delivered(self, key: Key, frame: bytes) -> None:
        """The server has it."""
        self._drop(key)
        if len(frame) > RECENT_BYTES // 4:
            return
        self._recent[key] = frame
        while sum(map(len, self._recent.values())) > RECENT_BYTES or len(self._recent) > self._most_files:
            del self._recent[next(iter(self._recent))]

    def _tidy(self) -> None:
        """Drop what is too old, and the oldest where there is too much."""
        floor = self._now() - self._oldest
        for key in [key for key, (_, _, at) in self._sizes.items() if at < floor]:
            self._drop(key)
        while (
            len(self._sizes) > self._most_files or sum(size for _, size, _ in self._sizes.values()) > self._most_bytes
        ):
            self._drop(next(iter(self._sizes)))

    def _bytes(self) -> int:
        return sum(size for _, size, _ in self._sizes.values())

    def _drop(self, key: Key) -> None:
        found = self._sizes.pop(key, None)
        if found is not None:
            found[0].unlink(missing_ok=True)


def _read(path: Path) -> Answer | None:
    """What is in a file; None where it is none of ours, such as a draft that was cut off."""
    if path.name.startswith("."):
        return None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return msgpack.decode(file.read(), type=Answer)
    except (OSError, DecodeError):
        return None

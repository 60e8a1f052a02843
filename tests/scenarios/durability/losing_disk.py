"""A disk whose power can fail: what SQLite did not sync is dropped, kept or torn, in any order, sector by sector."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw

SECTOR = 512
KEPT = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
"""The files that a power loss concerns; the shared-memory index is rebuilt after one."""


class Platter:
    """One file as the disk holds it: what is certain, and the changes since, which are not."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.since: list[tuple[int, bytes | None]] = []  # (place, data), or (size, None) for a truncation
        self.created = False  # whether its name is certain to be found
        self.deleted = False

    def sync(self) -> None:
        for place, data in self.since:
            _change(self.synced, place, data)
        self.since = []
        self.created = True

    def after_loss(self, chance: Random) -> bytes | None:
        """What may be found after the power failed now; None when there is no such file."""
        if (self.deleted or not self.created) and chance.random() < 0.5:
            return None
        found = bytearray(self.synced)
        for place, data in self.since:
            fate = chance.choice(("kept", "dropped", "torn"))
            if fate == "kept" or (fate == "torn" and data is None):
                _change(found, place, data)
            elif fate == "torn" and data is not None:
                for start in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        _change(found, place + start, data[start : start + SECTOR])
        return bytes(found)


def _change(content: bytearray, place: int, data: bytes | None) -> None:
    if data is None:
        del content[place:]
    else:
        content.extend(bytes(max(0, place - len(content))))
        content[place : place + len(data)] = data


class LosingDisk(apsw.VFS):
    """The real file system below, and beside it what of each file would survive.

    `before_change` is called before each write, truncation and sync, on the thread that makes it. With `lies` a sync
    is answered and not done, as some disks do: then nothing above can keep its promise.
    """

    def __init__(self, name: str, *, lies: bool = False) -> None:
        super().__init__(name, "")
        self.name, self.lies = name, lies
        self.before_change: Callable[[], None] = lambda: None
        self.lock = threading.RLock()
        self.platters: dict[str, Platter] = {}

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        kept = flags[0] & KEPT
        file = LosingFile(self, name, flags, kept=bool(kept))
        if kept and name is not None:
            with self.lock:
                platter = self.platters.setdefault(file.path, Platter())
                if platter.deleted:
                    platter.deleted = False
                    platter.since.append((0, None))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        with self.lock:
            if syncdir:
                self.platters.pop(filename, None)
            elif filename in self.platters:
                self.platters[filename].deleted = True

    def lose_power(self, folder: Path, chance: Random) -> None:
        """Write into the folder what would be found if the power failed now; the disk itself goes on."""
        folder.mkdir()
        with self.lock:
            for path, platter in self.platters.items():
                found = platter.after_loss(chance)
                if found is not None:
                    (folder / Path(path).name).write_bytes(found)


class LosingFile(apsw.VFSFile):
    """One open file of a LosingDisk."""

    def __init__(self, disk: LosingDisk, name: str | apsw.URIFilename | None, flags: list[int], *, kept: bool) -> None:
        super().__init__("", name, flags)
        self.disk, self.kept = disk, kept
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._changing(offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._changing(newsize, None)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if not self.kept:
            return super().xSync(flags)
        self.disk.before_change()
        if not self.disk.lies:
            with self.disk.lock:  # no need to wait for the real disk: this one decides what survives
                self.disk.platters[self.path].sync()
        return None

    def _changing(self, place: int, data: bytes | None) -> None:
        if self.kept:
            self.disk.before_change()
            with self.disk.lock:
                self.disk.platters[self.path].since.append((place, data))

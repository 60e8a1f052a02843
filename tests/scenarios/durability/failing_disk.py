"""A disk that runs out of room, refuses to be written, or answers with errors, for as long as a test says so."""

from __future__ import annotations

from typing import Literal

import apsw

Trouble = Literal["write", "sync", "read"]


class FailingDisk(apsw.VFS):
    """The real file system, with trouble on top.

    `room` is how many bytes its files may still grow by (None: as many as they like), `broken` says what answers with
    an I/O error, and a `read_only` disk opens everything for reading.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.room: int | None = None
        self.broken: set[Trouble] = set()
        self.read_only = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if self.read_only:
            flags[0] &= ~(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            flags[0] |= apsw.SQLITE_OPEN_READONLY
        return FailingFile(self, name, flags)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        if self.read_only and flags == apsw.mapping_access["SQLITE_ACCESS_READWRITE"]:
            return False
        return super().xAccess(pathname, flags)


class FailingFile(apsw.VFSFile):
    """One open file of a FailingDisk."""

    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self.disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._refuse("write")
        if self.disk.room is not None:
            growth = max(0, offset + len(data) - super().xFileSize())
            if growth > self.disk.room:
                raise apsw.FullError("no space left on device")
            self.disk.room -= growth
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._refuse("sync")
        super().xSync(flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._refuse("read")
        return super().xRead(amount, offset)

    def _refuse(self, what: Trouble) -> None:
        if what in self.disk.broken:
            raise apsw.IOError(f"{what} failed")

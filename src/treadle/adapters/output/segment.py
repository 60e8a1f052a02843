"""A segment is a run of consecutive bytes that one assignment printed: a file of just these bytes, and their index.

The data file is named after the offset of its first byte in the task's whole output. The index beside it begins with a
head (whose bytes, from which of their own offsets on) and has one record of 16 bytes for each piece: where it ends, of
which stream it is, when it was written, and a checksum over piece and record. A gap in the output is a new segment
that begins further on; so within one segment offsets have no holes and a position in the file follows from an offset.
"""

import contextlib
import errno
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from treadle.core.errors import StoreFull, StoreReadOnly, StoreUnavailable
from treadle.core.output import Chunk, Part, Stream

HEAD = struct.Struct("<4sQQQI")
"""Magic, fence, base (task offset of the assignment's first byte), instant, checksum."""
RECORD = struct.Struct("<QII")
"""Instant and stream, where the piece ends in the data file, checksum."""
MAGIC = b"out1"
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Segment(NamedTuple):
    """One segment as far as it counts: what its files hold beyond `data` and `indexed` bytes was never acknowledged."""

    first: int
    fence: int
    base: int
    data: int = 0
    indexed: int = HEAD.size

    @property
    def end(self) -> int:
        return self.first + self.data

    @property
    def size(self) -> int:
        """What it takes on disk."""
        return self.data + self.indexed


def refused(error: OSError) -> StoreUnavailable:
    """What the file system said, as core says it."""
    if error.errno in _FULL:
        return StoreFull("The disk that holds the output of tasks is full; free some space and try again")
    if error.errno in _READ_ONLY:
        return StoreReadOnly("The output of tasks cannot be written; make its folder writable and try again")
    return StoreUnavailable(f"The output of tasks cannot be kept: {error.strerror or error}")


def firsts(names: Iterable[str], kind: str = ".idx") -> list[int]:
    """The offsets that the files of one kind are named after, in order; other files are not ours."""
    return sorted(int(name[:-4]) for name in names if len(name) == 24 and name[:20].isdigit() and name.endswith(kind))


def data_file(folder: Path, first: int) -> str:
    return f"{folder}/{first:020d}.log"


def index_file(folder: Path, first: int) -> str:
    return f"{folder}/{first:020d}.idx"


def begin(folder: Path, first: int, fence: int, base: int, now: int) -> Segment:
    """Make an empty segment, also over one that is empty already."""
    head = HEAD.pack(MAGIC, fence, base, now, 0)[:-4]
    for path, content in (
        (data_file(folder, first), b""),
        (index_file(folder, first), head + struct.pack("<I", crc32(head))),
    ):
        with _opened(path, os.O_WRONLY | os.O_CREAT) as fd:
            _put(fd, content, 0)
            os.ftruncate(fd, len(content))
    return Segment(first, fence, base)


def append(folder: Path, to: Segment, pieces: Sequence[Part], now: int) -> Segment:
    """The segment with these pieces behind what it has; if that fails it is as it was."""
    records = bytearray()
    end = to.data
    for stream, data in pieces:
        end += len(data)
        stamp = now << 1 | STREAMS.index(stream)
        records += RECORD.pack(stamp, end, _checksum(stamp, end, data))
    content = pieces[0][1] if len(pieces) == 1 else b"".join(data for _, data in pieces)
    _extend(data_file(folder, to.first), content, to.data)
    try:
        _extend(index_file(folder, to.first), records, to.indexed)
    except OSError:
        _cut(data_file(folder, to.first), to.data)
        raise
    return to._replace(data=end, indexed=to.indexed + len(records))


def read(folder: Path, segment: Segment, after: int, most: int) -> list[Chunk]:
    """The bytes from a task offset within the segment on; pieces of one stream that meet are one chunk."""
    with _opened(index_file(folder, segment.first), os.O_RDONLY) as fd:
        records = os.pread(fd, segment.indexed - HEAD.size, HEAD.size)
    count = len(records) // RECORD.size
    start = after - segment.first
    with _opened(data_file(folder, segment.first), os.O_RDONLY) as fd:
        data = os.pread(fd, min(most, segment.data - start), start)
    place = bisect_right(range(count), start, key=lambda at: int(RECORD.unpack_from(records, at * RECORD.size)[1]))
    chunks: list[Chunk] = []
    begun, stop = start, start + len(data)
    while begun < stop and place < count:
        stamp, end, _ = RECORD.unpack_from(records, place * RECORD.size)
        place += 1
        while place < count and end < stop:
            next_stamp, next_end, _ = RECORD.unpack_from(records, place * RECORD.size)
            if (next_stamp ^ stamp) & 1:
                break
            end, place = next_end, place + 1
        end = min(end, stop)
        chunks.append(Chunk(segment.first + begun, STREAMS[stamp & 1], data[begun - start : end - start]))
        begun = end
    return chunks


def newest(folder: Path, first: int) -> int:
    """When something was last written to it, microseconds."""
    with _opened(index_file(folder, first), os.O_RDONLY) as fd:
        size = os.fstat(fd).st_size
        records = (size - HEAD.size) // RECORD.size
        if records <= 0:
            return int(HEAD.unpack(os.pread(fd, HEAD.size, 0))[3])
        return int(RECORD.unpack(os.pread(fd, RECORD.size, HEAD.size + (records - 1) * RECORD.size))[0]) >> 1


def found(folder: Path, first: int, *, torn: bool) -> Segment | None:
    """A segment as its files have it; None if its head cannot be read.

    One that may be torn (the last, after a crash) counts as far as index and data agree, and is cut to that. The others
    were on disk before the next began: their sizes tell enough, unless they contradict each other.
    """
    with _opened(index_file(folder, first), os.O_RDONLY) as fd:
        raw = os.pread(fd, os.fstat(fd).st_size, 0)
    if len(raw) < HEAD.size:
        return None
    magic, fence, base, _, check = HEAD.unpack_from(raw)
    if magic != MAGIC or check != crc32(raw[: HEAD.size - 4]):
        return None
    empty = Segment(first, fence, base)
    try:
        with _opened(data_file(folder, first), os.O_RDONLY) as fd:
            size = os.fstat(fd).st_size
            if not torn and len(raw) > HEAD.size and (len(raw) - HEAD.size) % RECORD.size == 0:
                end = RECORD.unpack_from(raw, len(raw) - RECORD.size)[1]
                if end == size:
                    return empty._replace(data=end, indexed=len(raw))
            sound = _sound(empty, raw, fd, size)
    except FileNotFoundError:
        return empty
    with contextlib.suppress(OSError):  # where nothing can be written it counts as cut all the same
        if size > sound.data:
            _cut(data_file(folder, first), sound.data)
        if len(raw) > sound.indexed:
            _cut(index_file(folder, first), sound.indexed)
    return sound


def remove(folder: Path, first: int) -> None:
    """Take both files away, the index last: data without an index is nothing, and an index names what is gone."""
    for path in (data_file(folder, first), index_file(folder, first)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def sync(folder: Path, first: int) -> None:
    """Return when the segment's files are on disk."""
    for path in (data_file(folder, first), index_file(folder, first)):
        with _opened(path, os.O_RDONLY) as fd:
            os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk."""
    with _opened(str(folder), os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def _sound(empty: Segment, raw: bytes, fd: int, size: int) -> Segment:
    """The longest beginning in which every record fits its piece."""
    end, index = 0, HEAD.size
    if size == 0:
        return empty
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as content, memoryview(content) as view:
        while index + RECORD.size <= len(raw):
            stamp, until, check = RECORD.unpack_from(raw, index)
            if not end < until <= size or _checksum(stamp, until, view[end:until]) != check:
                break
            end, index = until, index + RECORD.size
    return empty._replace(data=end, indexed=index)


def _checksum(stamp: int, end: int, data: bytes | memoryview) -> int:
    return crc32(data, stamp & 0xFFFFFFFF ^ stamp >> 32 ^ end)


class _opened:  # noqa: N801 - it reads as what it does, like contextlib's own
    """A descriptor while the block runs. A class, for a generator would cost more than opening the file."""

    __slots__ = ("_fd", "_how", "_path")

    def __init__(self, path: str, how: int) -> None:
        self._path, self._how = path, how

    def __enter__(self) -> int:
        self._fd = os.open(self._path, self._how | os.O_CLOEXEC, 0o600)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _extend(path: str, content: bytes | bytearray, at: int) -> None:
    with _opened(path, os.O_WRONLY) as fd:
        try:
            _put(fd, content, at)
        except OSError:
            with contextlib.suppress(OSError):  # it counts for nothing as it is, and the next to write overwrites it
                os.ftruncate(fd, at)
            raise


def _put(fd: int, content: bytes | bytearray, at: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(fd, memoryview(content)[done:], at + done)


def _cut(path: str, size: int) -> None:
    with contextlib.suppress(OSError):
        os.truncate(path, size)

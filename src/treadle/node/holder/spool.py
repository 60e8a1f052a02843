"""The spool is where a run's output waits, on the node's disk, for the node to ship it.

It lies in the run's folder as segments `<offset>.out`, named after the offset of their first byte among all that the
run printed. A segment is a row of frames: one byte for the stream, four for the length, the data. The holder appends;
what the node has shipped it removes itself; without a node the holder keeps the newest RING bytes.
"""

import errno
import os

STREAMS = {1: "stdout", 2: "stderr"}
HEAD = 5
SEGMENT = 1024 * 1024
FRAMES = 16384
"""At most so many frames make a segment: finding an offset means walking them."""
RING = 256 * 1024 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT)


def name_of(offset: int) -> str:
    """The file of the segment that begins at an offset."""
    return f"{offset:020}.out"


def head(stream: int, length: int) -> bytes:
    """What stands before a frame's data."""
    return bytes((stream,)) + length.to_bytes(4, "big")


def parse(frame: bytes) -> tuple[int, int] | None:
    """The stream and the length that a frame's first bytes tell, or None where there is no frame (yet)."""
    if len(frame) < HEAD or frame[0] not in STREAMS:
        return None
    return frame[0], int.from_bytes(frame[1:HEAD], "big")


class Spool:
    """The writing side, in the current folder. Offsets count the bytes of the run, headers left out."""

    def __init__(self, ring: int = RING) -> None:
        self.end = 0
        self.shipped = 0
        self.lost = 0  # bytes for which there was no room anywhere
        self._ring = ring
        self._segments: list[int] = []  # where each begins; the last one is being written
        self._file = -1
        self._size = 0  # of the last segment's file
        self._frames = 0

    @property
    def first(self) -> int:
        return self._segments[0] if self._segments else self.end

    @property
    def unshipped(self) -> int:
        return self.end - max(self.shipped, self.first)

    def ship(self, to: int) -> None:
        """The node has everything before this offset, and removes the files of it."""
        self.shipped = max(self.shipped, min(to, self.end))
        while len(self._segments) > 1 and self._segments[1] <= self.shipped:
            del self._segments[0]

    def write(self, stream: int, data: bytes) -> bool:
        """Append a frame; False when the disk is full, and nothing of it was written."""
        try:
            if self._file < 0 or self._size >= SEGMENT or self._frames >= FRAMES:
                self._begin()
            self._append(head(stream, len(data)) + data)
        except OSError as error:
            if error.errno not in FULL:
                raise
            if self._segments and self._segments[-1] == self.end and self._size == 0:
                self._remove(len(self._segments) - 1)  # an empty segment would be room to give up, again and again
            return False
        self._frames += 1
        self.end += len(data)
        return True

    def _begin(self) -> None:
        file = os.open(name_of(self.end), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        if self.end not in self._segments:
            self._segments.append(self.end)
        self._file, self._size, self._frames = file, 0, 0

    def _append(self, frame: bytes) -> None:
        at = 0
        try:
            while at < len(frame):
                at += os.pwrite(self._file, frame[at:] if at else frame, self._size + at)
        except OSError:
            os.ftruncate(self._file, self._size)  # a reader never sees half a frame
            raise
        self._size += at

    def trim(self) -> None:
        """Keep no more than the ring holds: the oldest segments go."""
        while len(self._segments) > 1 and self.end - self._segments[1] >= self._ring:
            self._remove(0)

    def make_room(self) -> bool:
        """Give up the oldest segment for space on the disk; False when none is left."""
        if self._segments:
            self._remove(0)
            return True
        return False

    def _remove(self, index: int) -> None:
        name = name_of(self._segments.pop(index))
        if index == len(self._segments):  # it was the last, which is being written
            os.close(self._file)
            self._file = -1
        if os.path.exists(name):  # if not, the node has shipped it
            os.unlink(name)

    def lose(self, length: int) -> None:
        """Count bytes that could be kept nowhere: the offsets go on without them. Only with no segment left."""
        self.end += length
        self.lost += length

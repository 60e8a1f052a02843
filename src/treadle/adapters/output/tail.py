"""The tail is the newest output of one task, kept in memory while somebody follows it: all followers share it.

What two hundred readers of one line need is then read from no file, and is the same object for each of them.
"""

from bisect import bisect_right
from collections.abc import Sequence

from treadle.core.output import Chunk, Part

LONGEST = 256 * 1024
MOST_CHUNKS = 1024


class Tail:
    """The chunks from `start` to `end`; it knows nothing until somebody begins it, and after they stopped to read."""

    __slots__ = ("_chunks", "_read", "_size", "end", "start")

    def __init__(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Forget everything, and keep nothing from here on."""
        self._chunks: list[Chunk] = []
        self._size = 0
        self._read = False
        self.start = self.end = -1

    def begin(self, at: int) -> None:
        """Keep what is printed from here on, for whoever has read that far."""
        self.stop()
        self._read = True
        self.start = self.end = at

    def add(self, at: int, pieces: Sequence[Part]) -> None:
        """Something was printed at this offset."""
        if self.start < 0 or at < self.end:
            return
        if at > self.end:
            self.begin(at)
        for stream, data in pieces:
            self._chunks.append(Chunk(self.end, stream, data))
            self.end += len(data)
            self._size += len(data)
        if self._size > LONGEST or len(self._chunks) > MOST_CHUNKS:
            self._trim()

    def since(self, after: int, most: int) -> list[Chunk] | None:
        """What follows the offset; None if that is not all here."""
        if not self.start <= after <= self.end or self.start < 0:
            return None
        self._read = True
        if after == self.end:
            return []
        place = bisect_right(self._chunks, after, key=lambda chunk: chunk.at) - 1
        first = self._chunks[place]
        if place == len(self._chunks) - 1 and first.at == after and len(first.data) <= most:
            return [first]  # the common case: everybody waited for just this
        stop = min(self.end, after + most)
        found: list[tuple[Chunk, list[bytes]]] = []
        while place < len(self._chunks) and self._chunks[place].at < stop:
            chunk = self._chunks[place]
            begun = max(after, chunk.at)
            data = chunk.data[begun - chunk.at : stop - chunk.at]
            if found and found[-1][0].stream == chunk.stream:
                found[-1][1].append(data)
            else:
                found.append((Chunk(begun, chunk.stream, b""), [data]))
            place += 1
        return [Chunk(head.at, head.stream, b"".join(datas)) for head, datas in found]

    def _trim(self) -> None:
        """Let the older half go, or everything if nobody has read since the last time."""
        if not self._read:
            self.stop()
            return
        self._read = False
        gone = 0
        while self._chunks and (self._size > LONGEST // 2 or len(self._chunks) - gone > MOST_CHUNKS // 2):
            if gone == len(self._chunks):
                break
            self._size -= len(self._chunks[gone].data)
            gone += 1
        del self._chunks[:gone]
        self.start = self._chunks[0].at if self._chunks else self.end

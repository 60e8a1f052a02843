"""What waits to be sent to one client, bounded: what streams goes first, replies never (spec 3.6)."""

from collections import deque
from typing import NamedTuple

LIMIT = 4 * 1024 * 1024


class Dropped(NamedTuple):
    """So many frames of a stream were dropped where this stands."""

    stream: str
    frames: int


class _Waiting(NamedTuple):
    frame: bytes
    stream: str | None


class Outbox:
    """A queue of frames. Frames of one stream keep their order, and a gap is told where it is."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._frames: deque[_Waiting] = deque()
        self._dropped: dict[str, int] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes, stream: str | None = None) -> bool:
        """Adds a frame, of a stream or not; False if the client is too slow even without its streams."""
        self._frames.append(_Waiting(frame, stream))
        self.size += len(frame)
        if self.size > self._limit:
            self._make_room()
        return self.size <= self._limit

    def take(self) -> bytes | Dropped | None:
        """The next frame, or the gap that comes before it; None where nothing waits."""
        if not self._frames:
            if self._dropped:
                return Dropped(*self._dropped.popitem())
            return None
        stream = self._frames[0].stream
        if stream is not None and stream in self._dropped:
            return Dropped(stream, self._dropped.pop(stream))
        frame = self._frames.popleft().frame
        self.size -= len(frame)
        return frame

    def forget(self, stream: str | None = None) -> None:
        """Drops a stream that nobody wants any more, or everything."""
        kept = () if stream is None else (each for each in self._frames if each.stream != stream)
        self._frames = deque(kept)
        self.size = sum(len(each.frame) for each in self._frames)
        if stream is None:
            self._dropped.clear()
        else:
            self._dropped.pop(stream, None)

    def _make_room(self) -> None:
        """Down to half of the limit at once: looking through the queue for each single frame would cost too much."""
        kept: deque[_Waiting] = deque()
        for waiting in self._frames:
            if waiting.stream is not None and self.size > self._limit // 2:
                self.size -= len(waiting.frame)
                self._dropped[waiting.stream] = self._dropped.get(waiting.stream, 0) + 1
            else:
                kept.append(waiting)
        self._frames = kept

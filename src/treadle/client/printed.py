"""What a run prints, out of a stream of server-sent events that may be cut anywhere and taken up again."""

from typing import Literal

import msgspec
from msgspec import Struct

from treadle.client.errors import Unreadable
from treadle.client.runs import Chunk, Gap, RunEnd, Stream

HEADERS = {"accept": "text/event-stream"}

Printed = Chunk | Gap | RunEnd


class _Data(Struct):
    """The data of an ordinary event."""

    stream: Stream
    data: bytes
    encoding: Literal["base64"] = "base64"


class _Missing(Struct, rename={"start": "from"}):
    """The data of a `gap`."""

    start: int
    to: int


class Reader:
    """Reads one stream. An event counts only once it has come whole; `after` is where to go on if nothing more comes.

    A stream that is asked for again may begin before `after` if a whole chunk was kept together: what was had is
    left out.
    """

    def __init__(self, after: int) -> None:
        self.after = after
        self._rest = b""
        self._id: int | None = None
        self._name = ""
        self._data: list[bytes] = []

    def broken(self) -> None:
        """The connection is gone: what had not come whole never came."""
        self._rest, self._id, self._name, self._data = b"", None, "", []

    def feed(self, data: bytes) -> list[Printed]:
        """More bytes of the stream; the events they complete. Raises Unreadable."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        found = (self.line(line) for line in lines)
        return [each for each in found if each is not None]

    def line(self, line: bytes) -> Printed | None:
        """One line of the stream without its end; the event it completes, if it does."""
        line = line.removesuffix(b"\r")
        if not line:
            return self._event()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id":
            self._id = int(value) if value.isdigit() else None
        elif name == b"event":
            self._name = value.decode(errors="replace")
        return None

    def _event(self) -> Printed | None:
        id, name, data = self._id, self._name, b"\n".join(self._data)
        self._id, self._name, self._data = None, "", []
        if not data:
            return None
        try:
            return self._read(id, name, data)
        except msgspec.DecodeError as error:
            raise Unreadable(f"what the server says of a run's output cannot be read: {error}") from error

    def _read(self, id: int | None, name: str, data: bytes) -> Printed | None:
        if name == "end":
            return msgspec.json.decode(data, type=RunEnd)
        if name == "gap":
            missing = msgspec.json.decode(data, type=_Missing)
            self.after = missing.to
            return Gap(at=missing.start, end=missing.to)
        if name not in ("", "message", "output"):
            return None  # a newer server says more
        printed = msgspec.json.decode(data, type=_Data)
        end = id if id is not None else max(self.after, 0) + len(printed.data)
        at = end - len(printed.data)
        known = max(self.after - at, 0) if self.after > 0 else 0
        self.after = end
        if known >= len(printed.data):
            return None
        return Chunk(at=at + known, stream=printed.stream, data=printed.data[known:])

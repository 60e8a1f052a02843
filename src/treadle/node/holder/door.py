"""The door of a holder: a Unix socket in the run's folder through which one node at a time speaks to it.

The node that starts a holder gives it the first connection; a later life of the node knocks at `door`. Words are lines:

    node to holder    input SEQ EOF LENGTH (the data follows), resize COLUMNS ROWS, signal NUMBER GRACE|-,
                      shipped OFFSET, forget
    holder to node    started PID, spool FIRST END, took SEQ, blocked SEQ WHY
"""

import _socket
import os
import select

NAME = "door"
ROOM = 256 * 1024


class Door:
    """Sends and receives without ever waiting. Works in the current folder."""

    def __init__(self, connection: int) -> None:
        self._listener: _socket.socket | None = None
        self.connection: int = connection
        self._heard = b""
        self._unsent = b""
        os.set_blocking(connection, False)

    @property
    def connected(self) -> bool:
        return self.connection >= 0

    @property
    def idle(self) -> bool:
        """Whether all that was said has left."""
        return not self._unsent

    def open(self) -> None:
        """Let later lives of the node in."""
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.bind(NAME)
        listener.listen(8)
        listener.setblocking(False)
        self._listener = listener

    def interests(self) -> dict[int, int]:
        """What to poll for, by descriptor."""
        wanted = {} if self._listener is None else {self._listener.fileno(): select.POLLIN}
        if self.connected:
            wanted[self.connection] = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        return wanted

    def listens_on(self, descriptor: int) -> bool:
        return self._listener is not None and self._listener.fileno() == descriptor

    def welcome(self) -> bool:
        """Take a new connection, in place of the one before; whether somebody came."""
        assert self._listener is not None
        try:
            accepted, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        self.hang_up()
        os.set_blocking(accepted, False)
        self.connection = accepted
        return True

    def hang_up(self) -> None:
        if self.connected:
            os.close(self.connection)
        self.connection, self._heard, self._unsent = -1, b"", b""

    def say(self, words: str) -> None:
        """Send a line; nobody hears it while nobody is connected."""
        if self.connected:
            self._unsent += words.encode("utf-8", "surrogateescape") + b"\n"
            self.flush()

    def flush(self) -> None:
        while self._unsent:
            try:
                self._unsent = self._unsent[os.write(self.connection, self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self.hang_up()

    def hear(self) -> list[tuple[list[str], bytes]]:
        """What was said since: words, and the data of an `input`. Hangs up when the node did."""
        if not self.connected:
            return []
        try:
            data = os.read(self.connection, ROOM)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            return []
        self._heard += data
        said: list[tuple[list[str], bytes]] = []
        while True:
            line, newline, rest = self._heard.partition(b"\n")
            words = line.decode().split(" ")
            length = int(words[3]) if words[0] == "input" else 0
            if not newline or len(rest) < length:
                return said
            said.append((words, rest[:length]))
            self._heard = rest[length:]

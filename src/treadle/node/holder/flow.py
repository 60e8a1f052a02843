"""The flow is what a command prints on its way to the spool: read as it comes, masked, and held up when it must be."""

import os
import time

from .masking import Mask
from .spool import Spool

CHUNK = 64 * 1024
TURN = 4
"""Chunks read from one stream before anybody else has a turn."""
LAST = 256
"""Chunks read at most of one stream once nobody is left who could write: far more than a pipe or terminal holds."""
AHEAD = 32 * 1024 * 1024
"""A node that is connected has shipped all but so many bytes, or the command has to wait."""
PATIENCE = 10.0
"""Seconds that a full disk may hold up the end of a run."""


class Flow:
    """From the streams of a command (descriptor: 1 stdout, 2 stderr) to the spool in the current folder."""

    def __init__(self, streams: dict[int, int], secrets: list[bytes], *, terminal: bool) -> None:
        self.spool = Spool()
        self._streams = streams
        self._masks = {stream: Mask(secrets, terminal=terminal) for stream in streams.values()}
        self._waiting: list[tuple[int, bytes]] = []  # read, and found no room on the disk
        self._since = 0.0

    @property
    def full(self) -> bool:
        """Whether the disk is."""
        return bool(self._waiting)

    def wanted(self, *, connected: bool) -> list[int]:
        """The descriptors to read from as soon as they can be; none while the command has to wait."""
        held_up = self.full or (connected and self.spool.unshipped > AHEAD)
        return [] if held_up else list(self._streams)

    def pump(self, descriptor: int, *, connected: bool, turns: int = TURN) -> None:
        """Carry what a stream has for us, at most so many chunks."""
        stream = self._streams[descriptor]
        mask = self._masks[stream]
        for _ in range(turns):
            data, open_still = _read(descriptor)
            self._store(stream, mask.feed(data), connected)
            if not open_still:  # the descriptor stays: a terminal's takes the input too, and all go when we go
                del self._streams[descriptor]
                self._store(stream, mask.flush(), connected)
                return
            if len(data) < CHUNK or self.full:
                return

    def finish(self, *, connected: bool) -> None:
        """Carry all that is left, when nobody is left who could write."""
        for descriptor, stream in list(self._streams.items()):
            for _ in range(LAST):
                data, open_still = _read(descriptor)
                self._store(stream, self._masks[stream].feed(data), connected)
                if not data or not open_still:
                    break
        for stream, mask in self._masks.items():
            self._store(stream, mask.flush(), connected)
        self._streams.clear()

    def _store(self, stream: int, data: bytes, connected: bool) -> None:
        if not data:
            return
        if self.full or not self.spool.write(stream, data):
            self._since = self._since if self.full else time.monotonic()
            self._waiting.append((stream, data))
        elif not connected:
            self.spool.trim()

    def retry(self, *, connected: bool) -> None:
        """The disk was full: try again. Room comes from what the node ships or, without a node, from the oldest output.

        What finds no room even so is lost, and the offsets go on without it, so that a reader sees the gap. The end
        of a run waits a while for the node, not for ever.
        """
        if not self._streams and time.monotonic() - self._since > PATIENCE:
            connected = False
        while self._waiting:
            stream, data = self._waiting[0]
            if not self.spool.write(stream, data):
                if self.spool.unshipped and connected:
                    return
                if self.spool.make_room():
                    continue
                self.spool.lose(len(data))
            del self._waiting[0]


def _read(descriptor: int) -> tuple[bytes, bool]:
    """Up to a chunk of what there is now, and whether the stream is open still."""
    pieces: list[bytes] = []
    size = 0
    while size < CHUNK:  # a terminal gives 4 kB at a time
        try:
            piece = os.read(descriptor, CHUNK - size)
        except BlockingIOError:
            return b"".join(pieces), True
        except OSError:  # EIO: the terminal has hung up
            piece = b""
        if not piece:
            return b"".join(pieces), False
        pieces.append(piece)
        size += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), True

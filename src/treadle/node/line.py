"""The line is a node's connection to one holder: the words of `holder.door`, as method calls and callbacks."""

import asyncio
from collections.abc import Callable
from typing import cast

from treadle.core.errors import Conflict, Unanswered, WrongState

PIECE = 64 * 1024
PATIENCE = 15.0
"""Seconds in which a holder answers for a piece; of a command that reads nothing it says so after 2."""


class Line(asyncio.Protocol):
    """`heard` gets each line as words, `closed` is called once, when the holder has gone or has another node."""

    def __init__(self, heard: Callable[[list[str]], None], closed: Callable[[], None]) -> None:
        self._heard, self._closed = heard, closed
        self._transport: asyncio.Transport | None = None
        self._partial = b""
        self._sequence = 0
        self._answers: dict[str, asyncio.Future[tuple[str, str]]] = {}

    @property
    def up(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "surrogateescape").split(" ")
            if words[0] in ("took", "begun", "blocked"):
                answer = self._answers.pop(words[1], None)
                if answer is not None and not answer.done():
                    answer.set_result((words[0], " ".join(words[2:])))
            else:
                self._heard(words)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WrongState("The run has ended"))
        self._answers.clear()
        self._closed()

    def say(self, *words: object) -> None:
        """Send words; without a holder nobody hears them."""
        if self._transport is not None:
            self._transport.write(" ".join(map(str, words)).encode() + b"\n")

    async def feed(self, data: bytes, *, eof: bool) -> bool:
        """Let the command read this; False if the rest of it still waits to be read.

        Raises Conflict when it takes nothing of a piece, WrongState when it has ended.
        """
        taken = True
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)] or [b""]
        for number, piece in enumerate(pieces, 1):
            if self._transport is None:
                raise WrongState("The run has ended")
            self._sequence += 1
            sequence = str(self._sequence)
            answer = self._answers[sequence] = asyncio.get_running_loop().create_future()
            last = eof and number == len(pieces)
            self._transport.write(f"input {sequence} {int(last)} {len(piece)}\n".encode() + piece)
            try:
                async with asyncio.timeout(PATIENCE):
                    how, why = await answer
            except TimeoutError:
                raise Unanswered("The run's holder does not answer") from None
            finally:
                self._answers.pop(sequence, None)
            if how == "blocked":
                raise Conflict(f"The run {why}")
            taken = how == "took"
        return taken

    def hang_up(self) -> None:
        """End the connection; the holder goes on."""
        if self._transport is not None:
            self._transport.abort()

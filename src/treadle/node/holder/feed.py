"""The feed is what a command is given to read: bytes in order, each lot acknowledged once the kernel has all of it."""

import os
import termios
import time

from .door import Door

BLOCKED = 2.0
"""Seconds without a byte taken, after which a lot that was not begun is refused; the rest of one that was stays."""


class Feed:
    """Writes to a pipe or a terminal without ever waiting; the door tells the node what came of each lot."""

    def __init__(self, descriptor: int, terminal: bool, door: Door) -> None:
        self._descriptor, self._terminal, self._door = descriptor, terminal, door
        self._lots: list[tuple[str, bool]] = []  # sequence number ("" once it is answered), whether it is the last
        self._left: list[bytes] = []
        self._begun = False  # whether some of the first lot was written
        self._line_begun = False
        self._moved = 0.0

    @property
    def wanted(self) -> int:
        """The descriptor to write to as soon as it can be, or -1."""
        return self._descriptor if self._lots else -1

    @property
    def deadline(self) -> float | None:
        return self._moved + BLOCKED if any(sequence for sequence, _ in self._lots) else None

    def take(self, sequence: str, data: bytes, *, end: bool) -> None:
        """Queue a lot, and write what can be written."""
        if self._descriptor < 0:
            self._door.say(f"blocked {sequence} has no input any more")
            return
        if end and self._terminal:
            data += self._end_of_file(data)
        if not self._lots:
            self._moved = time.monotonic()
        self._lots.append((sequence, end))
        self._left.append(data)
        self.push()

    def _end_of_file(self, data: bytes) -> bytes:
        """What a person types to end the input of a terminal; in the middle of a line it has to be typed twice."""
        key: bytes = termios.tcgetattr(self._descriptor)[6][termios.VEOF]
        begun = not data.endswith((b"\n", b"\r")) if data else self._line_begun
        return key * 2 if begun else key

    def push(self) -> None:
        """Write what can be written."""
        while self._lots:
            _, end = self._lots[0]
            try:
                while self._left[0]:
                    written = os.write(self._descriptor, self._left[0])
                    self._line_begun = self._left[0][written - 1 : written] not in (b"\n", b"\r")
                    self._left[0] = self._left[0][written:]
                    self._begun, self._moved = True, time.monotonic()
            except BlockingIOError:
                return
            except OSError:  # nobody reads the pipe any more, or the terminal has hung up
                self._give_up("has closed its input")
                continue
            self._answer("took")
            self._drop()
            if end:
                self._line_begun = False
                if not self._terminal:
                    self.close()

    def expire(self, now: float) -> None:
        """Refuse what nobody reads. Of a lot that was begun the rest waits on, and that is said: so whoever offers a
        refused lot again never doubles a byte.
        """
        if self.deadline is None or now < self.deadline:
            return
        if self._begun:
            self._answer("begun")
        while len(self._lots) > self._begun:
            self._give_up("does not read its input", at=-1)
        self._moved = now

    def close(self) -> None:
        """No more input; a terminal stays, for its output."""
        while self._lots:
            self._give_up("has no input any more")
        if self._descriptor >= 0 and not self._terminal:
            os.close(self._descriptor)
        self._descriptor = -1

    def _answer(self, what: str) -> None:
        sequence, end = self._lots[0]
        if sequence:
            self._door.say(f"{what} {sequence}")
        self._lots[0] = ("", end)

    def _give_up(self, why: str, at: int = 0) -> None:
        sequence, _ = self._lots[at]
        if sequence:
            self._door.say(f"blocked {sequence} {why}")
        self._drop(at)

    def _drop(self, at: int = 0) -> None:
        del self._lots[at], self._left[at]
        self._begun = self._begun and at != 0

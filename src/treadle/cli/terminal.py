"""The terminal this program runs on: how large it is, and its raw mode, in which each key goes to the run as it is."""

import os
import termios
import tty
from typing import Any

from treadle.client.runs import Window

LEAVE = b"."
ESCAPE = b"~"


def window() -> Window:
    """The size of the terminal on stdout, stdin or stderr; the usual size where there is none."""
    for descriptor in (1, 0, 2):
        try:
            columns, rows = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if columns and rows:
            return Window(columns=min(columns, 1000), rows=min(rows, 1000))
    return Window()


class Raw:
    """A terminal in raw mode until `restore`, which may be called from anywhere and twice."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = termios.tcgetattr(descriptor)
        self.enter()

    def enter(self) -> None:
        """Raw mode, also again after somebody else had the terminal."""
        if self._before is not None:
            tty.setraw(self._descriptor, termios.TCSADRAIN)

    def restore(self) -> None:
        """As it was found."""
        before, self._before = self._before, None
        if before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)


class Keys:
    """What a person types in raw mode. `~.` at the beginning of a line leaves; `~~` there is one tilde."""

    def __init__(self) -> None:
        self._line_begins, self._escaped = True, False

    def typed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes to the run, and whether the person leaves."""
        passed = bytearray()
        for place in range(len(data)):
            key = data[place : place + 1]
            if self._escaped:
                self._escaped = False
                if key == LEAVE:
                    return bytes(passed), True
                if key != ESCAPE:
                    passed += ESCAPE
            elif key == ESCAPE and self._line_begins:
                self._escaped = True
                continue
            passed += key
            self._line_begins = key in (b"\r", b"\n")
        return bytes(passed), False

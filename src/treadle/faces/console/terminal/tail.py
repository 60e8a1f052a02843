"""The end of what was printed as plain lines: what a screen is filled from when one is asked for."""

from __future__ import annotations

from collections import deque

from treadle.faces.console.terminal.markup import Look, Run

LONGEST = 256 * 1024
"""Characters kept, each run counted with RUN more, so that very many very short ones do not take more memory."""
RUN = 32


class Tail:
    """Runs of text, oldest first; from the first one on, no more than LONGEST."""

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()
        self._size = 0
        self._cut = False

    def add(self, look: Look, text: str) -> None:
        self._runs.append((look, text))
        self._size += len(text) + RUN
        while self._size > LONGEST and len(self._runs) > 1:
            self._size -= len(self._runs.popleft()[1]) + RUN
            self._cut = True

    def take(self, lines: int) -> tuple[list[Run], bool]:
        """What was added since the last time, at most that many lines of it, and whether something older is missing."""
        runs: list[Run] = []
        cut = self._cut
        while self._runs:
            look, text = self._runs.pop()
            found = text.count("\n")
            if found > lines:
                text = "\n".join(text.split("\n")[-lines - 1 :])
                self._runs.clear()
                cut = True
            lines -= found
            runs.append((look, text))
        self._size, self._cut = 0, False
        return runs[::-1], cut

"""Printed text that was not sent yet, and its division into fragments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from treadle.faces.console.messages import Origin
from treadle.faces.console.terminal.markup import Look, Run

FRAGMENT = 16 * 1024
"""Characters of one fragment at most, and how many are sent without waiting for the end of a line (spec 5.3)."""

Piece = tuple[Origin, Look, str]


class Pending:
    """Pieces in the order of their printing."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.size = 0
        self._ended = False

    def add(self, origin: Origin, look: Look, text: str) -> None:
        self._pieces.append((origin, look, text))
        self.size += len(text)
        self._ended = self._ended or "\n" in text

    @property
    def ready(self) -> bool:
        """Whether a line is complete, or there is enough to send without one."""
        return self._ended or self.size >= FRAGMENT

    def take(self, everything: bool) -> list[Piece]:
        """The complete lines, or everything when that is asked for or there is much of it. What is taken is gone."""
        taken: list[Piece]
        taken, rest = (self._pieces, []) if everything or self.size >= FRAGMENT else _divided(self._pieces)
        self._pieces, self._ended = rest, False
        self.size = sum(len(text) for _, _, text in rest)
        return taken


def _divided(pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    """The pieces up to the last newline, and the rest."""
    for at in range(len(pieces) - 1, -1, -1):
        origin, look, text = pieces[at]
        if end := text.rfind("\n") + 1:
            rest = [(origin, look, text[end:])] if end < len(text) else []
            return [*pieces[:at], (origin, look, text[:end])], rest + pieces[at + 1 :]
    return [], pieces


def fragments(pieces: list[Piece]) -> Iterator[tuple[Origin, list[Run]]]:
    """The pieces of one origin after the other, cut after FRAGMENT characters: behind a newline where there is one."""
    for origin, group in groupby(pieces, key=itemgetter(0)):
        runs: list[Run] = []
        size = 0
        for look, same in groupby(group, key=itemgetter(1)):
            text = "".join(piece[2] for piece in same)
            at = 0
            while len(text) - at > FRAGMENT - size:
                end = text.rfind("\n", at, at + FRAGMENT - size) + 1
                if not end and not runs:
                    end = at + FRAGMENT
                if end:
                    runs.append((look, text[at:end]))
                    at = end
                yield origin, runs
                runs, size = [], 0
            runs.append((look, text[at:]))
            size += len(text) - at
        if runs:
            yield origin, runs

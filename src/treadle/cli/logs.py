"""`treadle logs`: what a run printed, and with -f what it prints."""

from collections.abc import Iterator
from typing import Annotated

from treadle.client import asking
from treadle.client.plain import Plain
from treadle.client.printed import Printed
from treadle.client.runs import Chunk, RunEnd

from .attaching import PATIENCE
from .options import Argument, Home, Json, Option, Server
from .reaching import reached
from .showing import show

WINDOW = 65536
"""Bytes from the end in which the last lines are looked for first; then ever more."""


def logs(
    id: Annotated[str, Argument(metavar="RUN", help="The run's id.")],
    follow: Annotated[bool, Option("--follow", "-f", help="Go on until the run has ended, or Ctrl-C.")] = False,
    tail: Annotated[int | None, Option("--tail", metavar="N", help="Only the last so many lines.", least=0)] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """What a run printed: stdout to stdout, stderr to stderr; with --json one object on a line for each piece."""
    with reached(server, home) as plain:
        output = plain.ask(asking.get(id)).output
        start = output.first if tail is None else line_start(plain, id, tail, output.first, output.end)
        try:
            for printed in (
                plain.follow(id, start, patience=PATIENCE) if follow else until(plain, id, start, output.end)
            ):
                show(printed, json)
        except KeyboardInterrupt:
            return


def until(plain: Plain, id: str, start: int, end: int) -> Iterator[Printed]:
    """What was printed between two offsets; not a byte more, however much comes meanwhile."""
    if start >= end:
        return
    for printed in plain.follow(id, start, patience=PATIENCE):
        if isinstance(printed, Chunk) and printed.end > end:
            printed = Chunk(at=printed.at, stream=printed.stream, data=printed.data[: end - printed.at])
        if not isinstance(printed, RunEnd):
            yield printed
        if isinstance(printed, RunEnd) or printed.end >= end:
            return


def line_start(plain: Plain, id: str, lines: int, first: int, end: int) -> int:
    """The offset at which the last so many lines begin."""
    size = WINDOW
    while lines:
        start = max(first, end - size)
        breaks = [
            chunk.at + place
            for chunk in until(plain, id, start, end)
            if isinstance(chunk, Chunk)
            for place, byte in enumerate(chunk.data)
            if byte == 0x0A and chunk.at + place < end - 1  # the last line's own end begins no other
        ]
        if len(breaks) >= lines:
            return breaks[-lines] + 1
        if start == first:
            return first
        size *= 8
    return end

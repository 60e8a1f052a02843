"""A run's display: bytes of its terminal in, the messages of its stream out. Nothing here waits or does I/O.

Output that is only lines goes past the screen: what was printed is sent as fragments, and its end is kept (tail.py).
The first thing that rewrites what stands there (a lone carriage return, a backspace, a cursor movement) fills the
screen from that end; from then on there are snapshots, until a screenful of lines, or a second, has passed without
rewriting.
"""

from __future__ import annotations

import codecs
import re

from treadle.faces.console.messages import Html, HtmlFull, Message, Origin
from treadle.faces.console.terminal.escapes import Op, Reader
from treadle.faces.console.terminal.markup import Look, fragment, snapshot
from treadle.faces.console.terminal.pending import Pending, fragments
from treadle.faces.console.terminal.screen import SCROLLBACK, Screen, rewrites
from treadle.faces.console.terminal.tail import Tail

QUIET = 0.03
"""Seconds without a byte after which an unfinished line is sent: it may be a prompt."""
BETWEEN_SNAPSHOTS = 0.25
CALM = 1.0
"""Seconds without rewriting after which output counts as lines again."""
FLOOD = 256 * 1024
"""Characters nobody took: more is not kept for them, they get a snapshot instead."""
LONGEST_SNAPSHOT = 1 << 20
"""Characters of HTML; a display that takes more (every cell a link) is shown without looks and scrollback."""

_SLICE = 64 * 1024
_SLACK = 1e-6  # clocks are floats: a wait that came back this much early was long enough
_NEWLINE = re.compile(r"\r+\n")
_RETURN = re.compile(r"\r(?!\r*\n)")


class _Lane:
    """One stream of bytes: half characters, half sequences and the pen are its own."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.reader = Reader()


class Display:
    """The display of one run, for any number of readers who all get the same messages.

    `now` is a monotonic time in seconds. After each `feed`, take what is due; feed no more than 256 KiB without taking,
    or what nobody took collapses into a snapshot. Memory does not grow with what was printed: kept are the screen, at
    most 1,000 rows (512 Ki characters of HTML) above it, and 256 Ki characters of plain lines.
    """

    def __init__(self, *, columns: int = 120, rows: int = 40, now: float = 0.0) -> None:
        self._screen = Screen(columns, rows)
        self._lanes: dict[Origin, _Lane] = {"stdout": _Lane(), "stderr": _Lane()}
        self._pending = Pending()
        self._tail = Tail()  # taken already, or not to be sent as fragments, and not on the screen yet
        self._drawing = False  # on the screen rather than as lines
        self._line_start = True
        self._returned = False  # a carriage return whose meaning the next character tells
        self._owed: float | None = None  # since when the readers wait for a snapshot
        self._fed = self._rewritten = now
        self._shown = now - BETWEEN_SNAPSHOTS
        self._lines = 0  # printed since the last rewriting
        self._number = 0

    def feed(self, data: bytes, stream: Origin, now: float) -> None:
        """Bytes as they came, cut anywhere. A pseudo-terminal's stream is "stdout"."""
        for at in range(0, len(data), _SLICE):
            self._read(self._lanes[stream].decoder.decode(data[at : at + _SLICE]), stream, now)
            self._fed = now

    def due(self, now: float) -> float | None:
        """Seconds until `take` would give something: 0 at once, None if only more output can change that."""
        if self._owed is not None:
            quiet = min(self._fed + QUIET, self._owed + BETWEEN_SNAPSHOTS)  # a picture half drawn is worth less
            wait = max(quiet, self._shown + BETWEEN_SNAPSHOTS) - now
        elif self._pending.ready:
            return 0.0
        elif self._pending.size:
            wait = self._fed + QUIET - now
        else:
            return None
        return wait if wait > _SLACK else 0.0

    def take(self, now: float, *, final: bool = False) -> list[Message]:
        """What is to be sent by now, in order; with `final`, everything, because no more will come."""
        if final:
            self._end(now)
        if self._owed is not None:
            if not final and self.due(now):
                return []
            self._owed, self._shown = None, now
            return [self._full()]
        taken = self._pending.take(everything=final or now - self._fed >= QUIET - _SLACK)
        for _, look, text in taken:
            self._tail.add(look, text)
        return [Html(fragment(runs), origin) for origin, runs in fragments(taken)]

    def snapshot(self) -> Message:
        """The whole display, for a reader who joins now and then goes on with what `take` gives.

        Lines that were printed but not taken are left out: they come as fragments, to the joining reader too.
        """
        return self._full()

    def collapse(self) -> None:
        """Forget what was not sent: the next `take` that gives something gives the display as it then is."""
        self._owe(self._fed)

    def _owe(self, now: float) -> None:
        for _, look, text in self._pending.take(everything=True):
            self._tail.add(look, text)
        if self._owed is None:
            self._owed = now

    def _end(self, now: float) -> None:
        for stream, lane in self._lanes.items():
            self._read(lane.decoder.decode(b"", final=True), stream, now)

    def _read(self, text: str, stream: Origin, now: float) -> None:
        if self._pending.size >= FLOOD:
            self.collapse()
        if self._drawing and now - self._rewritten >= CALM and self._screen.settled():
            self._drawing, self._line_start = False, True
        reader = self._lanes[stream].reader
        for piece in reader.read(text):
            if not self._drawing:
                if isinstance(piece, Op):
                    if not self._begins(piece):
                        self._screen.apply(piece, reader.pen.blank)
                        continue
                else:
                    piece = self._print(piece, stream, reader.pen.look)
                    if not piece:
                        continue
                self._begin(now)
            self._draw(piece, reader, now)

    # As lines

    def _print(self, text: str, stream: Origin, look: Look) -> str:
        """Take text as lines; what is left over begins by writing over a line that stands there."""
        if "\r" in text:
            text = _NEWLINE.sub("\n", text.replace("\r\n", "\n"))
        if self._returned:
            text = text.lstrip("\r")
            if not text.startswith("\n"):
                return text
            self._returned = False
        while (at := text.find("\r")) >= 0:
            self._line(text[:at], stream, look)
            text = text[at:].lstrip("\r")
            if not self._line_start:
                self._returned = True
                return text
        self._line(text, stream, look)
        return ""

    def _line(self, text: str, stream: Origin, look: Look) -> None:
        if not text:
            return
        self._line_start = text[-1] == "\n"
        if self._owed is None:
            self._pending.add(stream, look, text)
        else:
            self._tail.add(look, text)

    def _begins(self, op: Op) -> bool:
        """Whether lines are not enough for the operation. To erase behind the end of the output changes nothing."""
        if op.kind in ("J", "K") and op.parameter(0) == 0:
            return self._returned
        return rewrites(op)

    # On the screen

    def _begin(self, now: float) -> None:
        """Go on upon the screen: with what was printed so far, sent or not."""
        self._owe(now)
        self._fill()
        if self._returned:
            self._screen.cursor.x = 0
        self._drawing, self._returned = True, False
        self._rewritten, self._lines = now, 0

    def _fill(self) -> None:
        runs, cut = self._tail.take(SCROLLBACK + self._screen.lines)
        if cut:
            self._screen.reset()
        for look, text in runs:
            self._screen.write(text, look)

    def _draw(self, piece: str | Op, reader: Reader, now: float) -> None:
        self._owe(now)
        if isinstance(piece, Op):
            self._screen.apply(piece, reader.pen.blank)
            rewriting = rewrites(piece)
        else:
            self._screen.write(piece, reader.pen.look)
            rewriting = "\r" in piece and _RETURN.search(piece) is not None
        if rewriting:
            self._rewritten, self._lines = now, 0
        elif isinstance(piece, str):
            self._lines += piece.count("\n")
            if self._lines >= self._screen.lines and self._screen.settled():
                self._drawing, self._line_start = False, True

    def _full(self) -> HtmlFull:
        self._fill()
        body = self._screen.spelled()
        if len(body) > LONGEST_SNAPSHOT:
            body = self._screen.spelled(styled=False)
        self._number += 1
        return HtmlFull(snapshot(self._number, body))

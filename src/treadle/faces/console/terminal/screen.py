"""The emulated screen: pyte's, with what programs need beyond it (an alternate screen, scrollback, links, any text)."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable
from copy import copy

import pyte
from pyte.screens import Char, Margins, StaticDefaultDict, wcwidth

from treadle.faces.console.terminal.escapes import Op
from treadle.faces.console.terminal.markup import PLAIN, Look, spelled

SCROLLBACK = 1000
"""Rows above the screen that a snapshot shows, as long as their HTML is no longer than SCROLLBACK_CHARACTERS."""
SCROLLBACK_CHARACTERS = 512 * 1024
MOST_COLUMNS, MOST_ROWS = 1000, 500

_LONGEST_CELL = 8  # code points of one cell: a letter and its marks, or a joined emoji
_BREAK = re.compile("([\t\n\r])")
_ALTERNATE = frozenset({47, 1047, 1049})
_ORIGIN, _WRAP = 6, 7  # DECOM and DECAWM; the other private modes change nothing that a snapshot shows
_INSERT = 4  # IRM
_EMPTY = Char(" ", "", "")

Row = StaticDefaultDict[int, Char]


class Screen(pyte.Screen):
    """Rows of cells. A cell's `fg` and `bg` are no colours here but its look: CSS and address."""

    def __init__(self, columns: int, rows: int) -> None:
        self.history: deque[str] = deque()
        self.alternate = False
        self._history_size = 0
        self._other: tuple[dict[int, Row], pyte.screens.Cursor] | None = None
        self._positions: dict[bool, tuple[int, int]] = {}
        self._cells: dict[Look, _Cells] = {}
        self._marks = ""  # zero-width characters that came before anything they could be added to
        self._last = (" ", PLAIN)
        super().__init__(min(max(columns, 1), MOST_COLUMNS), min(max(rows, 1), MOST_ROWS))
        self.buffer = _rows()

    @property
    def default_char(self) -> Char:
        return _EMPTY

    def reset(self) -> None:
        super().reset()
        self.history.clear()
        self.alternate, self._history_size, self._other, self._marks = False, 0, None, ""
        self._positions.clear()

    # What is printed

    def write(self, text: str, look: Look) -> None:
        """Printed text: a newline also returns to the first column, save on the alternate screen, whose programs set
        the terminal raw and mean only what they say."""
        for part in _BREAK.split(text):
            if part == "\n":
                if not self.alternate:
                    self.cursor.x = 0
                self.index()
            elif part == "\r":
                self.cursor.x = 0
            elif part == "\t":
                self.tab()
            elif part:
                self._put(part, look)

    def _put(self, text: str, look: Look) -> None:
        cells = self._cells.get(look)
        if cells is None:
            if len(self._cells) > 256:
                self._cells.clear()
            cells = self._cells[look] = _Cells(look)
        self._last = (text[-1], look)
        if not text.isascii() or self._marks or _INSERT in self.mode or not self._wraps:
            for char in text:
                self._put_one(char, cells)
            return
        at = 0
        while at < len(text):
            if self.cursor.x >= self.columns:
                self._wrap()
            x = self.cursor.x
            part = text[at : at + self.columns - x]
            self.buffer[self.cursor.y].update(zip(range(x, x + len(part)), map(cells.__getitem__, part), strict=True))
            self.cursor.x += len(part)
            at += len(part)

    @property
    def _wraps(self) -> bool:
        return _WRAP << 5 in self.mode

    def _wrap(self) -> None:
        self.cursor.x = 0
        self.index()

    def _put_one(self, char: str, cells: _Cells) -> None:
        width = min(max(wcwidth(char), 0), self.columns)
        if width == 0:
            self._mark(char)
            return
        if self.cursor.x + width > self.columns:
            if self._wraps:
                self._wrap()
            else:
                self.cursor.x = self.columns - width
        if _INSERT in self.mode:
            self.insert_characters(width)
        row, x = self.buffer[self.cursor.y], self.cursor.x
        row[x] = Char(self._marks + char, *cells.look) if self._marks else cells[char]
        self._marks = ""
        if width == 2:
            row[x + 1] = cells[""]
        self.cursor.x = x + width

    def _mark(self, char: str) -> None:
        """A character without width (a combining mark, a joiner, a direction mark) belongs to the one before it."""
        row, x = self.buffer[self.cursor.y], self.cursor.x - 1
        if x > 0 and row[x].data == "":
            x -= 1
        if x < 0:
            self._marks = (self._marks + char)[:_LONGEST_CELL]
        elif len(row[x].data) < _LONGEST_CELL:
            row[x] = row[x]._replace(data=row[x].data + char)

    # What is done to it

    def apply(self, op: Op, blank: Look) -> None:
        """Do the operation; one that is not known does nothing. `blank` is what erased cells look like."""
        if op.kind in ("h", "l", "?h", "?l"):
            self._set(op)
        elif operation := OPERATIONS.get(op.kind):
            self.cursor.attrs = Char(" ", *blank)
            operation(self, op)

    def _set(self, op: Op) -> None:
        known = {_ORIGIN, _WRAP} if op.kind[0] == "?" else {_INSERT}
        change = self.set_mode if op.kind[-1] == "h" else self.reset_mode
        for mode in op.parameters:
            if mode in known:
                change(mode, private=op.kind[0] == "?")
            elif op.kind[0] == "?" and mode in _ALTERNATE:
                self._switch(op.kind[-1] == "h", keep=mode == 1049)

    def _switch(self, alternate: bool, keep: bool) -> None:
        if alternate == self.alternate:
            return
        if alternate:
            if keep:
                self.save_cursor()
            self._other = (self.buffer, copy(self.cursor))
            self.buffer = _rows()
        elif self._other:
            self.buffer, cursor = self._other
            if keep:
                self.cursor = cursor
        self.alternate, self.margins = alternate, None

    def save_cursor(self) -> None:
        self._positions[self.alternate] = (self.cursor.x, self.cursor.y)

    def restore_cursor(self) -> None:
        self.cursor.x, self.cursor.y = self._positions.get(self.alternate, (0, 0))

    def index(self) -> None:
        bottom = self.margins.bottom if self.margins else self.lines - 1
        if self.cursor.y == bottom:
            self.scroll(1)
        elif self.cursor.y < self.lines - 1:
            self.cursor.y += 1

    def scroll(self, count: int) -> None:
        """Move the rows within the margins up, or down when negative; what leaves at the top of the screen is kept."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        height = bottom - top + 1
        rows = [self.buffer.pop(y, None) for y in range(top, bottom + 1)]
        if count > 0 and top == 0 and not self.alternate:
            for row in rows[:count]:
                self._keep(row)
        count = min(max(count, -height), height)
        for y, row in enumerate(rows, top - count):
            if row is not None and top <= y <= bottom:
                self.buffer[y] = row

    def _keep(self, row: Row | None) -> None:
        text = self._spelled(row)
        self.history.append(text)
        self._history_size += len(text) + 1
        while len(self.history) > SCROLLBACK or self._history_size > SCROLLBACK_CHARACTERS:
            self._history_size -= len(self.history.popleft()) + 1

    def reverse_index(self) -> None:
        top, _ = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y == top:
            self.scroll(-1)
        elif self.cursor.y > 0:
            self.cursor.y -= 1

    def cursor_up(self, count: int | None = None) -> None:
        top = self.margins.top if self.margins and self.cursor.y >= self.margins.top else 0
        self.cursor.y = max(self.cursor.y - (count or 1), top)

    def cursor_down(self, count: int | None = None) -> None:
        bottom = self.margins.bottom if self.margins and self.cursor.y <= self.margins.bottom else self.lines - 1
        self.cursor.y = min(self.cursor.y + (count or 1), bottom)

    def delete_lines(self, count: int | None = None) -> None:
        self._shift_lines(count or 1)

    def insert_lines(self, count: int | None = None) -> None:
        self._shift_lines(-(count or 1))

    def _shift_lines(self, count: int) -> None:
        margins, alternate = self.margins, self.alternate
        top, bottom = margins or Margins(0, self.lines - 1)
        if top <= self.cursor.y <= bottom:
            self.margins = Margins(self.cursor.y, bottom)
            self.alternate = True  # what is deleted at the top of the screen is not scrolled back to
            self.scroll(count)
            self.margins, self.alternate = margins, alternate
            self.cursor.x = 0

    def erase_in_display(self, how: int = 0, *args: object, **kwargs: object) -> None:
        """Whole rows become new ones of one look: a program may clear its screen thousands of times a second."""
        y = self.cursor.y
        if how == 3:
            self.history.clear()
            self._history_size = 0
            return
        for gone in range(*{0: (y + 1, self.lines), 1: (0, y), 2: (0, self.lines)}.get(how, (0, 0))):
            self._clear(gone)
        if how < 2:
            self.erase_in_line(how)

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        if how == 2 or (how == 0 and self.cursor.x == 0):
            self._clear(self.cursor.y)
        elif how in (0, 1):
            super().erase_in_line(how)

    def _clear(self, y: int) -> None:
        blank = self.cursor.attrs
        if blank == _EMPTY:
            self.buffer.pop(y, None)
        else:
            self.buffer[y] = Row(blank)

    def repeat(self, count: int) -> None:
        char, look = self._last
        self._put(char * min(count, self.columns), look)

    def to_row(self, row: int) -> None:
        self.cursor_position(row, self.cursor.x + 1)

    def margin(self, top: int, bottom: int) -> None:
        self.margins = None
        if top or bottom:
            self.set_margins(top or 1, bottom or self.lines)
        self.cursor_position()

    # What is seen

    def settled(self) -> bool:
        """Whether text printed from now on only adds lines: the cursor stands in front of an empty rest."""
        if self.alternate or self.margins or self.cursor.x or self._marks or _INSERT in self.mode:
            return False
        return all(_width(row) == 0 for y, row in self.buffer.items() if y >= self.cursor.y)

    def spelled(self, styled: bool = True) -> str:
        """The display as HTML: the scrollback and the screen, or the alternate screen alone; rows parted by newlines.

        Ends with the row of the cursor, or with the last one that holds something.
        """
        last = max([self.cursor.y, *(y for y, row in self.buffer.items() if y < self.lines and _width(row))])
        rows = [self._spelled(self.buffer.get(y), y, styled) for y in range(last + 1)]
        return "\n".join(rows if self.alternate or not styled else [*self.history, *rows])

    def _spelled(self, row: Row | None, y: int = -1, styled: bool = True) -> str:
        if not row and (row is None or row.default is _EMPTY):
            return ""
        width = max(_width(row), self.cursor.x if y == self.cursor.y else 0)  # a prompt ends in a space
        cells = [row[x] for x in range(min(width, self.columns))]
        texts = "".join([cell.data for cell in cells])
        if len(texts) != len(cells) or not texts.isascii():
            cells = _mended(cells)
        return spelled((cell[1:3] if styled else PLAIN, cell.data) for cell in cells)


class _Cells(dict[str, Char]):
    """The cells of one look, by their character: made once, shared by all places that show them."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look

    def __missing__(self, char: str) -> Char:
        cell = Char(char, *self.look)
        if len(self) < 256:
            self[char] = cell
        return cell


def _rows() -> dict[int, Row]:
    return defaultdict(lambda: Row(_EMPTY))


def _width(row: Row) -> int:
    """Up to where a row holds something to be seen."""
    if row.default is not _EMPTY:
        return MOST_COLUMNS
    width = max(row, default=-1) + 1
    while width and row.get(width - 1, _EMPTY) == _EMPTY:
        width -= 1
    return width


def _mended(cells: list[Char]) -> list[Char]:
    """Without halves of wide characters, of which the other half was written over."""
    whole = []
    for at, cell in enumerate(cells):
        if cell.data == "":
            if at == 0 or wcwidth(cells[at - 1].data[:1] or " ") < 2:
                whole.append(cell._replace(data=" "))
        elif wcwidth(cell.data[0]) == 2 and (at + 1 == len(cells) or cells[at + 1].data) and len(cells) > 1:
            whole.append(cell._replace(data=" "))
        else:
            whole.append(cell)
    return whole


OPERATIONS: dict[str, Callable[[Screen, Op], None]] = {
    "\b": lambda screen, op: screen.cursor_back(),
    "\x1b7": lambda screen, op: screen.save_cursor(),
    "\x1b8": lambda screen, op: screen.restore_cursor(),
    "\x1bD": lambda screen, op: screen.index(),
    "\x1bM": lambda screen, op: screen.reverse_index(),
    "\x1bH": lambda screen, op: screen.set_tab_stop(),
    "\x1bc": lambda screen, op: screen.reset(),
    "!p": lambda screen, op: screen.margin(0, 0),
    "@": lambda screen, op: screen.insert_characters(op.parameter(0, 1)),
    "A": lambda screen, op: screen.cursor_up(op.parameter(0, 1)),
    "B": lambda screen, op: screen.cursor_down(op.parameter(0, 1)),
    "C": lambda screen, op: screen.cursor_forward(op.parameter(0, 1)),
    "D": lambda screen, op: screen.cursor_back(op.parameter(0, 1)),
    "E": lambda screen, op: screen.cursor_down1(op.parameter(0, 1)),
    "F": lambda screen, op: screen.cursor_up1(op.parameter(0, 1)),
    "G": lambda screen, op: screen.cursor_to_column(op.parameter(0, 1)),
    "H": lambda screen, op: screen.cursor_position(op.parameter(0, 1), op.parameter(1, 1)),
    "J": lambda screen, op: screen.erase_in_display(op.parameter(0)),
    "K": lambda screen, op: screen.erase_in_line(op.parameter(0)),
    "L": lambda screen, op: screen.insert_lines(op.parameter(0, 1)),
    "M": lambda screen, op: screen.delete_lines(op.parameter(0, 1)),
    "P": lambda screen, op: screen.delete_characters(op.parameter(0, 1)),
    "S": lambda screen, op: screen.scroll(op.parameter(0, 1)),
    "T": lambda screen, op: screen.scroll(-op.parameter(0, 1)),
    "X": lambda screen, op: screen.erase_characters(op.parameter(0, 1)),
    "`": lambda screen, op: screen.cursor_to_column(op.parameter(0, 1)),
    "a": lambda screen, op: screen.cursor_forward(op.parameter(0, 1)),
    "b": lambda screen, op: screen.repeat(op.parameter(0, 1)),
    "d": lambda screen, op: screen.to_row(op.parameter(0, 1)),
    "e": lambda screen, op: screen.cursor_down(op.parameter(0, 1)),
    "f": lambda screen, op: screen.cursor_position(op.parameter(0, 1), op.parameter(1, 1)),
    "g": lambda screen, op: screen.clear_tab_stop(op.parameter(0)),
    "r": lambda screen, op: screen.margin(op.parameter(0), op.parameter(1)),
    "s": lambda screen, op: screen.save_cursor(),
    "u": lambda screen, op: screen.restore_cursor(),
}
STATES = frozenset({"!p", "g"})
"""Operations that neither change what stands on the screen nor ask where the cursor is."""


def rewrites(op: Op) -> bool:
    """Whether, after this operation, output is more than lines that follow one another."""
    if op.kind in ("?h", "?l"):
        return not _ALTERNATE.isdisjoint(op.parameters)
    return op.kind in OPERATIONS and op.kind not in STATES

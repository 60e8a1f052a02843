"""The escape sequences of one stream of terminal text: separated from what is printed, wherever the text is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from treadle.faces.console.terminal.looks import PLAIN, Style, css, number, restyled
from treadle.faces.console.terminal.markup import Look, address

LONGEST_SEQUENCE = 4096
"""Characters of one unfinished sequence that are kept; a longer one is passed over, not remembered."""
LONGEST_STRING = 1 << 20
"""Characters after which a string without terminator (DCS, APC, PM, SOS, OSC) is taken to be over."""
MOST_PARAMETERS = 16

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab, newline and carriage return
_SGR = re.compile(r"\x1b\[([0-9:;]*)m")
_CSI = re.compile(r"(?:\x1b\[|\x9b)([0-?]*)([ -/]*)([@-~])")
_CSI_BEGUN = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*")
_CSI_REST = re.compile(r"[0-?]*[ -/]*[@-~]?")
_ESC = re.compile(r"\x1b([ -/]*)([0-~])")
_ESC_BEGUN = re.compile(r"\x1b[ -/]*")
_OSC_END = re.compile("[\x07\n\x18\x1a\x1b\x9c]")  # a title holds no newline: its terminator was lost
_STRING_END = re.compile("[\x18\x1a\x1b\x9c]")
_TITLE, _STRINGS = "k", "PX^_"
_C1 = {"\x84": "\x1bD", "\x85": "\x1bE", "\x88": "\x1bH", "\x8d": "\x1bM"}
_C1_STRINGS = "\x90\x98\x9e\x9f"
_GRAPHICS = str.maketrans(dict(zip("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·", strict=True)))


class Op(NamedTuple):
    """Something that is not text: `kind` is BS, `ESC x`, or a CSI's private mark, intermediates and final character."""

    kind: str
    parameters: tuple[int, ...] = ()

    def parameter(self, at: int, default: int = 0) -> int:
        """The parameter at that place; a missing one, and zero, are the default."""
        return (self.parameters[at] if at < len(self.parameters) else 0) or default


class Pen(NamedTuple):
    """What text is drawn with, and what erased places look like."""

    style: Style = PLAIN
    href: str = ""
    look: Look = Look()
    blank: Look = Look()


@lru_cache(maxsize=2048)
def pen(style: Style, href: str) -> Pen:
    return Pen(style, href, Look(css(style), href), Look(css(Style(bg=style.bg))))


class Reader:
    """Reads one stream. The pen is kept from one text to the next, and so is a sequence that is not complete.

    What changes only the pen (SGR, OSC 8 links, saved cursors, resets) and the line-drawing character set is dealt with
    here. Titles, palettes, clipboards, device strings and everything unknown are dropped.
    """

    def __init__(self) -> None:
        self.pen = Pen()
        self._saved = Pen()
        self._held = ""  # the beginning of a sequence
        self._within = ""  # inside a long thing: "csi", "osc" or "string"
        self._length = 0  # how long that is so far
        self._osc: list[str] = []
        self._drawing = [False, False]  # whether G0 and G1 hold the line-drawing set
        self._shift = 0

    def read(self, text: str) -> Iterator[str | Op]:
        """Printed text (with tabs, newlines and carriage returns) and operations, in order.

        Valid for a piece, while it is looked at: `pen`.
        """
        text, self._held = self._held + text, ""
        at, end = 0, len(text)
        while at < end:
            if self._within:
                at = self._pass_over(text, at)
                continue
            found = _CONTROL.search(text, at)
            stop = found.start() if found else end
            if stop > at:
                piece = text[at:stop]
                yield piece.translate(_GRAPHICS) if self._drawing[self._shift] else piece
            if found is None:
                return
            char, at = found.group(), stop + 1
            if char == "\x1b":
                if sgr := _SGR.match(text, stop):
                    at = sgr.end()
                    self.pen = pen(restyled(self.pen.style, sgr.group(1)), self.pen.href)
                    continue
                at, told = self._escape(text, stop)
            elif char == "\x9b":
                at, told = self._control_sequence(text, stop)
            else:
                told = self._control(char)
            if told is not None:
                yield told

    def _control(self, char: str) -> str | Op | None:
        if char in "\x0b\x0c":
            return "\n"
        if char == "\b":
            return Op("\b")
        if char in "\x0e\x0f":
            self._shift = int(char == "\x0e")
        elif char == "\x9d":
            self._begin("osc")
        elif char in _C1_STRINGS:
            self._begin("string")
        elif char in _C1:
            return "\r\n" if char == "\x85" else Op(_C1[char])
        return None

    def _escape(self, text: str, at: int) -> tuple[int, str | Op | None]:
        if text.startswith("[", at + 1):
            return self._control_sequence(text, at)
        whole = _ESC.match(text, at)
        if whole is None:
            begun = _ESC_BEGUN.match(text, at)
            assert begun is not None
            return self._incomplete(text, at, begun.end(), "")
        between, final = whole.groups()
        if between:
            if between in "()" and len(between) == 1:
                self._drawing[between == ")"] = final == "0"
            return whole.end(), None
        if final in _STRINGS or final in ("]", _TITLE):
            self._begin("string" if final in _STRINGS else "osc")
            return whole.end(), None
        if final == "E":
            return whole.end(), "\r\n"
        op = Op(f"\x1b{final}")
        self._pen_follows(op)
        return whole.end(), op

    def _control_sequence(self, text: str, at: int) -> tuple[int, Op | None]:
        whole = _CSI.match(text, at)
        if whole is None:
            begun = _CSI_BEGUN.match(text, at)
            assert begun is not None
            return self._incomplete(text, at, begun.end(), "csi")
        parameters, between, final = whole.groups()
        mark = ""
        if parameters and parameters[0] in "<=>?":
            mark, parameters = parameters[0], parameters[1:]
        kind = mark + between + final
        if kind == "m":
            self.pen = pen(restyled(self.pen.style, parameters), self.pen.href)
            return whole.end(), None
        fields = parameters.split(";", MOST_PARAMETERS)[:MOST_PARAMETERS]
        op = Op(kind, tuple(max(number(field.partition(":")[0]), 0) for field in fields))
        self._pen_follows(op)
        return whole.end(), op

    def _incomplete(self, text: str, at: int, end: int, within: str) -> tuple[int, None]:
        """A sequence that is cut (hold it), or that something foreign interrupts (drop it, go on with the foreign)."""
        if end < len(text):
            return end, None
        if end - at <= LONGEST_SEQUENCE:
            self._held = text[at:]
        elif within:
            self._begin(within)
        return end, None

    def _begin(self, within: str) -> None:
        self._within, self._length = within, 0
        self._osc.clear()

    def _pass_over(self, text: str, at: int) -> int:
        """Go on behind a long thing, or to the end of the text when it goes on."""
        if self._within == "csi":
            rest = _CSI_REST.match(text, at)
            assert rest is not None
            end = rest.end()
            if end < len(text) or "@" <= text[end - 1] <= "~":
                self._within = ""
            return end
        found = (_OSC_END if self._within == "osc" else _STRING_END).search(text, at)
        end = found.start() if found else len(text)
        if self._within == "osc" and self._length <= LONGEST_SEQUENCE:
            self._osc.append(text[at:end][: LONGEST_SEQUENCE + 1])
        self._length += end - at
        if found is None:
            if self._length > LONGEST_STRING:
                self._within = ""
            return end
        if self._within == "osc" and found.group() in "\x07\x1b\x9c" and self._length <= LONGEST_SEQUENCE:
            self._command("".join(self._osc))
        self._within = ""
        # An escape ends the string and begins the next sequence: mostly `ESC \`, which then does nothing.
        return end + (found.group() not in "\x1b\n")

    def _command(self, text: str) -> None:
        """An operating system command: links are all that is taken from these."""
        kind, _, rest = text.partition(";")
        if kind == "8":
            self.pen = pen(self.pen.style, address(rest.partition(";")[2]))

    def _pen_follows(self, op: Op) -> None:
        if op.kind in ("\x1b7", "s") or (op.kind == "?h" and 1049 in op.parameters):
            self._saved = self.pen
        elif op.kind in ("\x1b8", "u") or (op.kind == "?l" and 1049 in op.parameters):
            self.pen = self._saved
        elif op.kind in ("\x1bc", "!p"):
            self.pen = self._saved = Pen()
            self._drawing, self._shift = [False, False], 0

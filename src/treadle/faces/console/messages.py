"""The messages of the execute stream and their framing, as the document spells them (spec 5.1, 5.2)."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Struct

from treadle.faces.console.terminal.markup import Look, fragment

Origin = Literal["stdout", "stderr"]
Reason = Literal["exited", "killed", "timeout", "shutdown", "spawn_error", "lost"]

KEEP_ALIVE = b": ka\n\n"
"""A comment line: clients skip what does not begin with `data: `, so it is shown to nobody."""


class Html(Struct, frozen=True, tag_field="type", tag="html"):
    """A fragment to append to what is shown: `data` holds only what is new."""

    data: str
    origin: Origin


class HtmlFull(Struct, frozen=True, tag_field="type", tag="html_full"):
    """The whole current display; it takes the place of everything shown before."""

    data: str


class System(Struct, frozen=True, tag_field="type", tag="system", omit_defaults=True):
    """The first message: `data` is the command line in one text. The caller masks secrets, in `argv` too."""

    data: str
    session_id: str
    pid: int | None = None
    argv: tuple[str, ...] = ()


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """What went wrong after the stream had begun; see `failure`."""

    data: str


class Exit(Struct, frozen=True, tag_field="type", tag="exit", omit_defaults=True):
    """The last message, exactly one: `code` is -N, and `signal` named, when signal N ended the process."""

    code: int
    signal: str | None = None
    reason: Reason | None = None


Message = Html | HtmlFull | System | Error | Exit

_BREAKS = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2\x85")
_ESCAPED = {b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029", b"\xc2\x85": rb"\u0085"}


def failure(text: str) -> list[Message]:
    """An error, and the fragment that says the same: the known page shows only html types (spec 5.2, rule 3)."""
    return [Error(text), Html(fragment([(Look("color:#cd3131"), f"{text}\n")]), "stderr")]


def framed(message: Message) -> bytes:
    """`data: {json}` and an empty line.

    JSON escapes the line breaks of ASCII but not those of Unicode, at which some clients cut lines too (the document's
    Python client does: `iter_lines(decode_unicode=True)`); they are escaped here.
    """
    text = msgspec.json.encode(message)
    if not text.isascii():
        text = _BREAKS.sub(lambda found: _ESCAPED[found.group()], text)
    return b"data: " + text + b"\n\n"

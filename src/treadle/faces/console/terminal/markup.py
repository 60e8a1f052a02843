"""Looks and text as HTML: everything escaped, and no tag but code, pre, span and a (spec 5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

_ADDRESS = re.compile(r"https?://[!-~]+", re.IGNORECASE)
LONGEST_ADDRESS = 1000


class Look(NamedTuple):
    """What a run of text is drawn with: the text of its `style` attribute and the address it links to."""

    css: str = ""
    href: str = ""


PLAIN = Look()

Run = tuple[Look, str]


def address(text: str) -> str:
    """The text if a page may link to it, else "": http and https, printable ASCII (what OSC 8 allows), not too long."""
    return text if len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text) else ""


def spelled(runs: Iterable[tuple[tuple[str, str], str]]) -> str:
    """The runs in order; neighbours that look the same share one element."""
    parts = []
    for (style, href), group in groupby(runs, key=itemgetter(0)):
        text = escape("".join(map(itemgetter(1), group)))
        styled = f' style="{escape(style)}"' if style else ""
        if href:
            parts.append(f'<a href="{escape(href)}"{styled}>{text}</a>')
        else:
            parts.append(f"<span{styled}>{text}</span>" if styled else text)
    return "".join(parts)


def fragment(runs: Iterable[tuple[tuple[str, str], str]]) -> str:
    """Text to append. An inline element, so that the parts of one line join, in which newlines count in any page."""
    return f'<code style="white-space:pre-wrap">{spelled(runs)}</code>'


def snapshot(number: int, body: str) -> str:
    """A whole display, already spelled.

    The known page takes two snapshots for one when they are equally long and begin alike: hence the number up front.
    A page drops the first newline within `pre`, hence one more where the display begins with an empty row.
    """
    return f'<pre title="s{number}">{chr(10) if body.startswith(chr(10)) else ""}{body}</pre>'

"""What a reader of the stream sees, and what may never be among it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from html.parser import HTMLParser

from treadle.faces.console.messages import Html, HtmlFull, Message
from treadle.faces.console.terminal.display import Display

TAGS = {"pre", "code", "span", "div", "br", "a"}
ATTRIBUTES = {"style", "class", "title", "href"}
OPENING = '<code style="white-space:pre-wrap">'


class Checked(HTMLParser):
    """Reads HTML, refuses what the stream may not hold, and keeps each character with the looks it is inside of."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.characters: list[tuple[str, tuple[str, ...]]] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self._open == [], f"{html!r} leaves tags open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, f"<{tag}>"
        names = [name for name, _ in attrs]
        assert set(names) <= ATTRIBUTES, f"<{tag} {names}>"
        assert len(names) == len(set(names))
        values = {name: value or "" for name, value in attrs}
        if "href" in values:
            assert values["href"].lower().startswith(("http://", "https://")), values
        if "style" in values:
            assert re.fullmatch(r"[a-z0-9:;#. -]+", values["style"]), values
        look = "" if tag in ("code", "pre") else " ".join(values.values())
        self._open.append((tag, look))

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        looks = tuple(look for _, look in self._open if look)
        self.characters += [(char, looks) for char in data]

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        self.handle_comment(decl)

    def unknown_decl(self, data: str) -> None:
        self.handle_comment(data)

    def handle_pi(self, data: str) -> None:
        self.handle_comment(data)


def shown(messages: Iterable[Message]) -> list[tuple[str, tuple[str, ...]]]:
    """The characters that fragments add, with their looks."""
    return [char for message in messages if isinstance(message, Html) for char in Checked(message.data).characters]


def text_of(message: Message) -> str:
    assert isinstance(message, Html | HtmlFull)
    html = re.sub(r"(<pre [^>]*>)\n", r"\1", message.data)  # a page drops a newline there
    return unescape(re.sub(r"<[^>]*>", "", html))


def inner(message: Message) -> str:
    """A fragment without the element around it."""
    assert isinstance(message, Html)
    assert message.data.startswith(OPENING)
    assert message.data.endswith("</code>")
    return message.data[len(OPENING) : -len("</code>")]


def printed(*chunks: bytes, columns: int = 120, rows: int = 40) -> list[Message]:
    """What a run gives that printed these chunks at once and ended."""
    display = Display(columns=columns, rows=rows)
    for chunk in chunks:
        display.feed(chunk, "stdout", 0.0)
    return display.take(0.0, final=True)


def screen(*chunks: bytes, columns: int = 20, rows: int = 5) -> str:
    """The text of the only snapshot."""
    (message,) = printed(*chunks, columns=columns, rows=rows)
    assert isinstance(message, HtmlFull), message
    return text_of(message)

"""The emulated screen: what programs draw, as rows of text and of HTML."""

from __future__ import annotations

import pytest

from tests.faces.console.terminal.reading import Checked, printed, screen
from treadle.faces.console.messages import HtmlFull

# Bytes on a screen of 20 columns and 5 rows, and its rows. "\r!" in front is what makes it a screen at all.
CASES: list[tuple[bytes, str]] = [
    (b"abc\rX", "Xbc"),
    (b"abc\b\bX", "aXc"),
    (b"abc\b \b\b \b", "a"),
    (b" 10%\r 20%\r100%", "100%"),
    (b"long line\rshort\x1b[K\r\n", "short\n"),
    (b"one\r\ntwo\x1b[1A\x1b[1GX", "Xne\ntwo"),
    (b"\x1b[2J\x1b[Htop\x1b[3;5Hthree", "top\n\n    three"),
    (b"\x1b[5;1Hlast\r\nscrolled", "\n\n\n\nlast\nscrolled"),
    (b"abcdefghijklmnopqrstuvwxyz\b!", "abcdefghijklmnopqrst\nuvwxy!"),
    (b"abc\x1b[2D\x1b[1P", "ac"),
    (b"abc\x1b[2D\x1b[2@", "a  bc"),
    (b"abc\x1b[2D\x1b[1X", "a c"),
    (b"abc\x1b[4h\r12\x1b[4l", "12abc"),
    (b"a\r\nb\r\nc\x1b[2H\x1b[L", "a\n\nb\nc"),
    (b"a\r\nb\r\nc\x1b[2H\x1b[M", "a\nc"),
    (b"a\r\nb\r\nc\x1b[H\x1b[9M", ""),
    (b"a\r\nb\r\nc\x1b[H\x1b[S", "a\nb\nc"),
    (b"a\r\nb\r\nc\x1b[H\x1b[2T", "\n\na\nb\nc"),
    (b"a\r\nb\r\nc\x1b[H\x1bM0", "0\na\nb\nc"),
    (b"abc\x1b7\x1b[5;5Hx\x1b8d", "abcd\n\n\n\n    x"),
    (b"a\tb\rX", "X       b"),
    (b"\x1b[3g\x1b[5G\x1bH\ra\tb", "a   b"),
    (b"-\b\x1b[5b", "-----"),
    (b"\r-\x1b[5b", "------"),
    (b"\x1b[1;3r\x1b[1;1Ha\r\nb\r\nc\r\nd\x1b[r\x1b[5;1Hs", "a\nb\nc\nd\n\ns"),
    (b"main\r\n\x1b[?1049h\x1b[Halt\x1b[?1049lback", "main\nback"),
    (b"main\r\n\x1b[?1049h\x1b[Halt", "alt"),
    (b"\x1b[?1049h\x1b[Ha\nb\r\nc", "a\n b\nc"),
    (b"abc\x1b[1K\x1b[1Gx", "x"),
    (b"a\r\nb\x1b[1J", "\n "),
    (b"a\r\nb\r\nc\x1b[2H\x1b[J", "a\n"),
    (b"abc\x1bc", ""),
    (b"abc\x1b[3Cd", "abc   d"),
    (b"\x1b[?7l" + b"x" * 25 + b"\by\x1b[?7h", "x" * 18 + "yx"),
    ("漢字\bX".encode(), "漢 X"),
    ("漢字\rX".encode(), "X 字"),
    ("abcdefghijklmnopqrs漢\r!".encode(), "abcdefghijklmnopqrs\n! "),
    ("e\u0301\rX".encode(), "X"),
    ("ne\u0301\rX".encode(), "Xe\u0301"),
    ("\u200fab\rX\u200eY".encode(), "X\u200eY"),
    ("\u0301xz\b!".encode(), "\u0301x!"),
    (b"a\rb" + b"\x1b[?5h\x1b[?3h\x1b[?2004h\x1b[?1000h\x1b[5n\x1b[c\x1b[z\x1b#8", "b"),
]


@pytest.mark.parametrize(("given", "rows"), CASES, ids=[repr(case[0])[2:40] for case in CASES])
def test_a_program_draws(given: bytes, rows: str) -> None:
    assert screen(given) == rows
    assert screen(*(given[at : at + 1] for at in range(len(given)))) == rows


def test_looks_and_links_are_kept_by_cells() -> None:
    (message,) = printed(b"x\r\x1b[31mred\x1b[m \x1b]8;;http://x.y\x07link\x1b]8;;\x07\x1b[44m\x1b[K", columns=12)
    assert message == HtmlFull(
        '<pre title="s1"><span style="color:#cd3131">red</span> <a href="http://x.y">link</a>'
        '<span style="background-color:#2472c8">    </span></pre>'
    )


def test_a_coloured_clear_fills_the_screen() -> None:
    (message,) = printed(b"\x1b[44m\x1b[2J\x1b[H", columns=3, rows=2)
    assert message == HtmlFull(
        '<pre title="s1"><span style="background-color:#2472c8">   </span>\n'
        '<span style="background-color:#2472c8">   </span></pre>'
    )


def test_the_scrollback_is_bounded_and_can_be_cleared() -> None:
    lines = b"".join(b"%d\r\n" % number for number in range(1, 3001))
    rows = screen(b"!\r" + lines).split("\n")
    assert rows[-2] == "3000"
    assert len(rows) == 1000 + 5
    assert screen(b"!\r" + lines + b"\x1b[H\x1b[2J\x1b[3Jclear") == "clear"


def test_the_scrollback_of_a_program_that_redraws_is_kept_in_order() -> None:
    bar = b"".join(b"step %d\r\n[##  ] %d%%\r\x1b[K" % (number, number) for number in range(20))
    assert screen(bar + b"done\r\n") == "".join(f"step {number}\n" for number in range(20)) + "done\n"


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 1), (0, -3), (10**9, 10**9)])
def test_any_size_of_window_works(columns: int, rows: int) -> None:
    given = "x\r漢\x1b[5;5Hab\ncd\x1b[L\x1b[M\x1b[@\x1b[P\x1b[2;1r\x1b[9999b\te\u0301".encode()
    (message,) = printed(given, columns=columns, rows=rows)
    assert isinstance(message, HtmlFull)
    Checked(message.data)


def test_a_display_of_links_alone_is_shown_without_them() -> None:
    cells = b"".join(b"\x1b]8;;http://x/%s%d\x07x" % (b"y" * 900, number) for number in range(120 * 40))
    (message,) = printed(b"x\r" + cells)
    assert isinstance(message, HtmlFull)
    assert len(message.data) < 10_000
    assert "xxx" in message.data

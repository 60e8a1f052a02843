"""Any bytes, cut anywhere: the same output, and never HTML that a page must not get."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faces.console.terminal.reading import Checked, shown
from treadle.faces.console.messages import Html, HtmlFull, Message
from treadle.faces.console.terminal.display import Display

LINES = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"]), max_size=8).map(str.encode),
        st.sampled_from([b"\n", b"\r\n", b"\t", b"<b>&\"'", b"\x1b[K", b"\x1b]0;t\x07", b"\x1b]8;;http://x.y\x07",
                         b"\x1b]8;;\x1b\\", b"\x1b[m", b"\x1bPdcs\x1b\\", b"\xff", b"\xc3", b"\xf0\x9f", b"\x07"]),
        st.lists(st.sampled_from([0, 1, 4, 7, 31, 44, 91, 38, 5, 2, 200]), max_size=4).map(
            lambda codes: b"\x1b[%sm" % b";".join(b"%d" % code for code in codes)),
    ),
    max_size=20,
).map(b"".join)  # fmt: skip

PARTS = [
    b"\x1b", b"\x1b[", b"\x1b]", b"\x1b]8;;", b"\x1bP", b"\x1b_", b"\x9b", b"\xc2\x9b", b"\xc2\x9d", b"\xc2\x90",
    b"8;;javascript:alert(1)", b'http://x.y/"onclick="', b"https://x.y/?a=<b>&c='d'", b"\x07", b"\x1b\\", b"\xc2\x9c",
    b"\r", b"\n", b"\r\n", b"\b", b"\t", b"\v", b"\x0e", b"\x0f", b"\x18", b";", b":", b"?", b">", b"!", b" ", b"$",
    b"1", b"2", b"7", b"38;5;196", b"48:2::1:2:3", b"1049", b"47", b"25", b"9999", b"99999999999999999999", b"<script>",
    b"<img src=x onerror=alert(1)>", b"&lt;", b"\"'", "漢".encode(), "\u0301\u200d\u202e".encode(), b"\xff\xc3",
    *(bytes([byte]) for byte in range(0x40, 0x7F)),
]  # fmt: skip
ANYTHING = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(PARTS), max_size=60).map(b"".join))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def check(message: Message) -> None:
    assert isinstance(message, Html | HtmlFull)
    Checked(message.data)
    assert not any((ord(char) < 32 and char not in "\t\n") or 0x7F <= ord(char) < 0xA0 for char in message.data)


@given(LINES, st.lists(st.integers(0, 500), max_size=6))
def test_lines_cut_anywhere_give_the_very_same_fragments(data: bytes, places: list[int]) -> None:
    whole, parts = Display(), Display()
    whole.feed(data, "stdout", 0.0)
    for chunk in cut(data, places):
        parts.feed(chunk, "stdout", 0.0)
    assert parts.take(0.0, final=True) == whole.take(0.0, final=True)


@given(LINES, st.lists(st.integers(0, 500), max_size=6))
def test_lines_taken_at_any_time_add_up_to_the_same_characters(data: bytes, places: list[int]) -> None:
    whole, parts = Display(), Display()
    whole.feed(data, "stdout", 0.0)
    sent: list[Message] = []
    for number, chunk in enumerate(cut(data, places)):
        parts.feed(chunk, "stdout", float(number))
        sent += parts.take(number + number % 2 / 2)  # at once, or after a quiet
    sent += parts.take(99.0, final=True)
    assert shown(sent) == shown(whole.take(0.0, final=True))


@settings(max_examples=300)
@given(st.lists(st.tuples(ANYTHING, st.sampled_from(["stdout", "stderr"]), st.floats(0, 2)), max_size=6))
def test_no_bytes_break_the_html(chunks: list[tuple[bytes, str, float]]) -> None:
    display, now = Display(columns=12, rows=4), 0.0
    for data, stream, passed in chunks:
        now += passed
        display.feed(data, "stderr" if stream == "stderr" else "stdout", now)
        for message in [*display.take(now), display.snapshot()]:
            check(message)
    for message in display.take(now, final=True):
        check(message)
    assert display.due(now) is None


def test_ten_thousand_random_escapes() -> None:
    chance = random.Random(20)
    display, now = Display(columns=40, rows=12), 0.0
    for _ in range(100):
        for _ in range(100):
            display.feed(b"".join(chance.choices(PARTS, k=chance.randint(1, 6))), "stdout", now)
        now += 0.05
        for message in display.take(now):
            check(message)
    for message in display.take(now, final=True):
        check(message)
    display.feed(b"\x18\x1b\\\x1bc\x1b[0mstill alive\r\n", "stdout", now)
    assert any(isinstance(message, HtmlFull) for message in display.take(now + 9))
    assert "still alive" in str(display.snapshot())

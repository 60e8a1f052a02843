"""Text and sequences told apart: tables, cuts at every place, and hostile lengths."""

from __future__ import annotations

import time

import pytest

from treadle.faces.console.terminal.escapes import LONGEST_SEQUENCE, LONGEST_STRING, Op, Reader
from treadle.faces.console.terminal.markup import Look


def read(*texts: str) -> list[tuple[str, Look] | Op]:
    """The pieces with their looks, neighbours joined."""
    reader = Reader()
    pieces: list[tuple[str, Look] | Op] = []
    for text in texts:
        for piece in reader.read(text):
            last = pieces[-1] if pieces else None
            if isinstance(piece, Op):
                pieces.append(piece)
            elif isinstance(last, tuple) and not isinstance(last, Op) and last[1] == reader.pen.look:
                pieces[-1] = (last[0] + piece, last[1])
            else:
                pieces.append((piece, reader.pen.look))
    return pieces


def text(*texts: str) -> str:
    return "".join(piece[0] for piece in read(*texts) if not isinstance(piece, Op))


CASES: list[tuple[str, list[tuple[str, Look] | Op]]] = [
    ("plain\ttext\r\n", [("plain\ttext\r\n", Look())]),
    ("a\x1b[31mb\x1b[mc", [("a", Look()), ("b", Look("color:#cd3131")), ("c", Look())]),
    ("a\x9b1mb", [("a", Look()), ("b", Look("font-weight:bold"))]),
    ("a\x07\x00\x7f\x80b", [("ab", Look())]),
    ("a\vb\fc", [("a\nb\nc", Look())]),
    ("a\x85b", [("a\r\nb", Look())]),
    ("a\x1bEb", [("a\r\nb", Look())]),
    ("a\bb", [("a", Look()), Op("\b"), ("b", Look())]),
    ("\x1b[2;3H", [Op("H", (2, 3))]),
    ("\x1b[?25l", [Op("?l", (25,))]),
    ("\x1b[>4;2m\x1b[=1u", [Op(">m", (4, 2)), Op("=u", (1,))]),
    ("\x1b[!p", [Op("!p", (0,))]),
    ("\x1b[ q", [Op(" q", (0,))]),
    ("\x1bM\x8d", [Op("\x1bM"), Op("\x1bM")]),
    ("\x1b(0lqk\x1b(Bq", [("┌─┐q", Look())]),
    ("\x1b)0a\x0eq\x0fq", [("a─q", Look())]),
    ("\x1b]0;title\x07a", [("a", Look())]),
    ("\x1b]0;title\x1b\\a", [Op("\x1b\\"), ("a", Look())]),
    ("\x9d0;title\x9ca", [("a", Look())]),
    ("\x1b]8;id=1;http://x.y\x07a\x1b]8;;\x07b", [("a", Look("", "http://x.y")), ("b", Look())]),
    ("\x1b]8;;javascript:alert(1)\x07a", [("a", Look())]),
    ("\x1b]8;;http://x.y\x18a", [("a", Look())]),
    ("\x1b]52;c;aGVsbG8=\x07a", [("a", Look())]),
    ("\x1b]0;lost\nnext", [("\nnext", Look())]),
    ("\x1bPq#0;2;0\nsixel\x1b\\a", [Op("\x1b\\"), ("a", Look())]),
    ("\x1b_Gf=24\x1b\\a\x1b^pm\x1b\\b\x1bXsos\x1b\\c", [Op("\x1b\\"), ("a", Look()), Op("\x1b\\"), ("b", Look()),
                                                       Op("\x1b\\"), ("c", Look())]),
    ("\x90dcs\x9ca\x9fapc\x9cb", [("ab", Look())]),
    ("\x1bktitle\x1b\\a", [Op("\x1b\\"), ("a", Look())]),
    ("\x1bPtmux;\x1b\x1b]0;x\x07a", [("a", Look())]),
    ("a\x1b\x1b[1mb", [("a", Look()), ("b", Look("font-weight:bold"))]),
    ("\x1b[31\x18mb", [("mb", Look())]),
    ("\x1b%Ga\x1b#8b\x1b F", [("ab", Look())]),
    ("\x1béa", [("éa", Look())]),
    ("\x1b[1m\x1b7\x1b[ma\x1b8b", [Op("\x1b7"), ("a", Look()), Op("\x1b8"), ("b", Look("font-weight:bold"))]),
    ("\x1b[1m\x1bca", [Op("\x1bc"), ("a", Look())]),
    ("a\x1b[3", [("a", Look())]),
    ("a\x1b", [("a", Look())]),
    ("\u202eabc\u200b\u2066", [("\u202eabc\u200b\u2066", Look())]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "pieces"), CASES, ids=[repr(case[0]) for case in CASES])
def test_a_text_gives_pieces_wherever_it_is_cut(given: str, pieces: list[tuple[str, Look] | Op]) -> None:
    assert read(given) == pieces
    assert read(*given) == pieces
    for at in range(1, len(given)):
        assert read(given[:at], given[at:]) == pieces


def test_parameters_are_bounded() -> None:
    (op,) = read(f"\x1b[{'9' * 3000};{'1;' * 500}H")
    assert isinstance(op, Op)
    assert (op.parameters[0], len(op.parameters)) == (9999, 16)


def test_an_endless_control_sequence_is_passed_over() -> None:
    digits = "1" * 1000
    assert text("a\x1b[", *[digits] * 100, "mb") == "ab"
    assert text("a\x1b[", *[digits] * 100, "\nb") == "a\nb"


def test_a_long_link_is_no_link() -> None:
    assert read("\x1b]8;;http://x/", *["y" * 1000] * (LONGEST_SEQUENCE // 1000 + 1), "\x07a") == [("a", Look())]


def test_a_string_without_end_does_not_swallow_everything_that_follows() -> None:
    assert text("\x1bP", "x" * LONGEST_STRING, "x", "after") == "after"


def test_sequences_byte_by_byte_take_no_quadratic_time() -> None:
    begun = time.process_time()
    text(*("\x1b[" + "1;" * 100_000 + "m"), *("\x1b]0;" + "x" * 200_000), *("\x1bP" + "x" * 200_000))
    assert time.process_time() - begun < 5

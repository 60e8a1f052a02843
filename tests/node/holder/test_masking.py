"""The mask: the same whatever the cuts of the stream, nothing of a secret shown, nothing else hidden."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.node.holder.masking import Mask

few = st.sampled_from([b"a", b"b", b"ab", b"ba", b"aa", b"c", b"-"])
texts = st.lists(few, max_size=40).map(b"".join)
secrets = st.lists(st.lists(few, min_size=1, max_size=5).map(b"".join), max_size=3)


def masked(values: list[bytes], pieces: list[bytes]) -> bytes:
    mask = Mask(values)
    return b"".join([*(mask.feed(piece) for piece in pieces), mask.flush()])


@given(secrets, st.lists(texts, max_size=8))
def test_where_the_stream_is_cut_makes_no_difference(values: list[bytes], pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    assert (
        masked(values, pieces) == masked(values, [text]) == masked(values, [text[i : i + 1] for i in range(len(text))])
    )


@given(secrets, texts)
def test_each_byte_of_a_secret_is_covered_and_no_other(values: list[bytes], text: bytes) -> None:
    """Checked against the definition, place by place."""
    covered = bytearray(len(text))
    for value in values:
        for found in re.finditer(b"(?=%b)" % re.escape(value), text):
            covered[found.start() : found.start() + len(value)] = b"\1" * len(value)
    kept = bytes(byte for byte, hidden in zip(text, covered, strict=True) if not hidden)
    assert masked(values, [text]).replace(b"***", b"") == kept


@pytest.mark.parametrize(
    ("values", "pieces", "shown"),
    [
        ([b"hunter2"], [b"my hun", b"ter2!"], b"my ***!"),
        ([b"hunter2"], [b"my hun", b"ger"], b"my hunger"),
        ([b"abc", b"bcd"], [b"xabcdx"], b"x***x"),
        ([b"ab"], [b"ababab"], b"*********"),
        ([b"key\n"], [b"the key is"], b"the *** is"),
        ([b""], [b"all of it"], b"all of it"),
    ],
)
def test_examples(values: list[bytes], pieces: list[bytes], shown: bytes) -> None:
    assert masked(values, pieces) == shown


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    mask = Mask([b"secret"])
    assert mask.feed(b"Password: ") == b"Password: "
    assert mask.feed(b"yes") == b"ye"
    assert mask.feed(b"!") == b"s!"


def test_a_terminal_writes_lines_its_own_way() -> None:
    mask = Mask([b"-----\nabc\n"], terminal=True)
    assert mask.feed(b"x-----\r\nabc\r\ny") == b"x***y"

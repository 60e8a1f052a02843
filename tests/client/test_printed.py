"""What a run printed, out of bytes that come in any pieces."""

from __future__ import annotations

import pytest

from treadle.client import Chunk, Gap, RunEnd, Unreadable
from treadle.client.printed import Reader

STREAM = (
    b": \n\n"
    b'id: 3\ndata: {"stream":"stdout","encoding":"base64","data":"YWJj"}\n\n'
    b'event: gap\nid: 10\ndata: {"from":3,"to":10}\n\n'
    b'event: weather\ndata: {"sun":true}\n\n'
    b'id: 12\r\ndata: {"stream":"stderr","encoding":"base64",\r\ndata: "data":"/w0="}\r\n\r\n'
    b'event: end\nid: 12\ndata: {"state":"failed","code":-9,"signal":"SIGKILL","reason":"killed",'
    b'"error":null,"end":12}\n\n'
)
PRINTED = [
    Chunk(at=0, stream="stdout", data=b"abc"),
    Gap(at=3, end=10),
    Chunk(at=10, stream="stderr", data=b"\xff\r"),
    RunEnd(state="failed", code=-9, signal="SIGKILL", reason="killed", end=12),
]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_pieces_of_any_size(size: int) -> None:
    reader = Reader(0)
    found = [each for place in range(0, len(STREAM), size) for each in reader.feed(STREAM[place : place + size])]
    assert found == PRINTED
    assert reader.after == 12


def test_what_was_had_is_left_out() -> None:
    reader = Reader(2)
    assert reader.feed(STREAM)[0] == Chunk(at=2, stream="stdout", data=b"c")
    reader = Reader(3)
    assert reader.feed(STREAM)[0] == Gap(at=3, end=10)


def test_what_has_not_come_whole_never_came() -> None:
    reader = Reader(0)
    assert reader.feed(STREAM[:30]) == []
    reader.broken()
    assert reader.after == 0
    assert reader.feed(STREAM) == PRINTED


def test_a_gap_is_not_forgotten_when_the_stream_breaks_behind_it() -> None:
    reader = Reader(3)
    reader.feed(b'event: gap\nid: 10\ndata: {"from":3,"to":10}\n\n')
    assert reader.after == 10


@pytest.mark.parametrize("data", [b"{", b'{"stream":"log","data":""}', b'{"stream":"stdout","data":"*"}'])
def test_what_cannot_be_read(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Reader(0).feed(b"data: " + data + b"\n\n")

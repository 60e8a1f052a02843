"""The messages as bytes: the document's own examples, and clients that cut them wherever they like."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from treadle.faces.console.messages import (
    KEEP_ALIVE,
    Error,
    Exit,
    Html,
    HtmlFull,
    Message,
    System,
    failure,
    framed,
)

EXAMPLES: list[tuple[Message, bytes]] = [
    (Html("<div>partial fragment</div>", "stdout"),
     b'data: {"type":"html","data":"<div>partial fragment</div>","origin":"stdout"}\n\n'),
    (HtmlFull("<div>complete snapshot</div>"), b'data: {"type":"html_full","data":"<div>complete snapshot</div>"}\n\n'),
    (Exit(0), b'data: {"type":"exit","code":0}\n\n'),
    (Exit(-15, "SIGTERM", "killed"), b'data: {"type":"exit","code":-15,"signal":"SIGTERM","reason":"killed"}\n\n'),
    (System("cat a b", "session_1", 7, ("cat", "a b")),
     b'data: {"type":"system","data":"cat a b","session_id":"session_1","pid":7,"argv":["cat","a b"]}\n\n'),
    (Error("it broke"), b'data: {"type":"error","data":"it broke"}\n\n'),
]  # fmt: skip

HARD = Html('line\nfeed\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 "q" \\u2028 é 漢 👩\u200d🚀 \x00', "stderr")


@pytest.mark.parametrize(("message", "line"), EXAMPLES, ids=[type(message).__name__ for message, _ in EXAMPLES])
def test_a_message_is_one_line_and_an_empty_one(message: Message, line: bytes) -> None:
    assert framed(message) == line


def test_no_kind_of_line_break_is_left_in_the_json() -> None:
    line = framed(HARD)
    assert len(line.decode().splitlines()) == 2
    assert json.loads(line[6:]) == {"type": "html", "data": HARD.data, "origin": "stderr"}


def test_a_failure_is_told_in_html_too() -> None:
    error, told = failure("no <such> program")
    assert error == Error("no <such> program")
    assert isinstance(told, Html)
    assert "no &lt;such&gt; program" in told.data


def by_newlines(chunks: Iterator[str]) -> list[Any]:
    """The document's JavaScript client."""
    buffer, found = "", []
    for chunk in chunks:
        *parts, buffer = (buffer + chunk).split("\n")
        found += [json.loads(line[6:]) for line in parts if line.startswith("data: ")]
    assert buffer == ""
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_the_documents_clients_read_it_however_it_is_cut(size: int) -> None:
    messages = [message for message, _ in EXAMPLES] + [HARD]
    stream = b"".join(framed(message) + KEEP_ALIVE for message in messages)
    expected = [json.loads(framed(message)[6:]) for message in messages]
    text = stream.decode()
    assert by_newlines(text[at : at + size] for at in range(0, len(text), size)) == expected

    response = requests.Response()
    response.encoding = "utf-8"
    response.raw = io.BytesIO(stream)
    found = []
    for chunk in response.iter_lines(size, decode_unicode=True):  # the document's Python client
        assert isinstance(chunk, str)
        if chunk.startswith("data: "):
            found.append(json.loads(chunk[6:]))
    assert found == expected

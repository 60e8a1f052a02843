"""What the rules make of a request."""

from __future__ import annotations

import pytest

from treadle.faces.ufo.runners.reading import CommandLine, NamedCall, Unreadable, outright, read, typed

READ = [
    ("run: uname -s", CommandLine("uname -s")),
    ("  RUN:ls -l | wc\n", CommandLine("ls -l | wc")),
    ("run: for i in 1 2\ndo echo $i\ndone", CommandLine("for i in 1 2\ndo echo $i\ndone")),
    ('{"tool": "tap", "args": {"x": 1, "y": 2}}', NamedCall("tap", {"x": 1, "y": 2})),
    ('{"tool": "get_ui_tree"}', NamedCall("get_ui_tree")),
    ('tap {"x": 1, "y": 2}', NamedCall("tap", {"x": 1, "y": 2})),
    ("type_text text='two words' control_id=7", NamedCall("type_text", words={"text": "two words", "control_id": "7"})),
    ("set note=a=b", NamedCall("set", words={"note": "a=b"})),
    ("screenshot", NamedCall("screenshot", bare=True)),
    ("Which OS is this?", None),
    ("open the door and set x=1", None),
    ("it's late x=1", None),
    ('{"a": 1}', None),
    ("{not json}", None),
    ("", None),
]


@pytest.mark.parametrize(("request_", "said"), READ)
def test_a_request_is_read(request_: str, said: object) -> None:
    assert read(request_) == said


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("run:  ", "followed by no command"),
        ('{"tool": "tap", "args": {', "not JSON"),
        ('{"tool": "tap", "args": [1]}', "must be an object"),
        ('{"tool": "tap", "arguments": {}}', "is written"),
        ('{"tool": 7}', "is written"),
        ("tap {x: 1}", "the arguments of tap are not a JSON object"),
    ],
)
def test_what_looks_like_a_call_and_is_none_is_said(request_: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(request_)


def test_words_get_the_types_of_the_schema() -> None:
    kinds = {"x": "integer", "f": "number", "b": "boolean", "o": "object", "s": "string", "n": ["integer", "null"]}
    schema = {"properties": {name: {"type": kind} for name, kind in kinds.items()}}
    words = {"x": "7", "f": "1.5", "b": "true", "o": '{"a":[1]}', "s": "7", "n": "null", "other": "7"}
    wanted = {"x": 7, "f": 1.5, "b": True, "o": {"a": [1]}, "s": "7", "n": None, "other": "7"}
    assert typed(words, schema) == wanted
    with pytest.raises(Unreadable, match="x='seven' is not integer"):
        typed({"x": "seven"}, schema)


@pytest.mark.parametrize(
    ("request_", "sure"),
    [
        ("run: ls", True),
        ("run:", True),
        ('{"tool": "a"}', True),
        ("tap x=1", False),
        ("screenshot", False),
        ("hi", False),
    ],
)
def test_what_is_a_command_beyond_doubt(request_: str, sure: bool) -> None:
    assert outright(request_) is sure

"""What a model answers, read as steps."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.faces.ufo.runners.answers import (
    Choice,
    Finish,
    Nonsense,
    Plan,
    Refused,
    Step,
    finished,
    first_object,
    read,
)
from treadle.faces.ufo.runners.schema import FINISH_SCHEMA

TOOLS: dict[str, dict[str, Any]] = {
    "finish": FINISH_SCHEMA,
    "tap": {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    },
}
TAP = '{"thought": "t", "action": {"tool": "tap", "args": {"x": 1}}}'
PLAN = Plan([Step("tap", {"x": 1})], "t")


def choice(content: Any = None, **more: Any) -> Choice:
    reason = more.pop("finish_reason", "stop")
    return msgspec.convert({"message": {"content": content, **more}, "finish_reason": reason}, Choice)


def native(*calls: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"id": f"i{n}", "function": {"name": name, "arguments": args}} for n, (name, args) in enumerate(calls)]


@pytest.mark.parametrize(
    ("said", "plan"),
    [
        (TAP, PLAN),
        (f"Sure!\n```json\n{TAP}\n```\nDone.", PLAN),
        (f'<think>maybe {{"action": 1}} or {{this</think>{TAP}', PLAN),
        (f"{{oops {TAP}", PLAN),
        ([{"type": "text", "text": TAP}], PLAN),
        ('{"tool": "tap", "args": {"x": 1}}', Plan([Step("tap", {"x": 1})])),
        ('{"action": {"tool": "finish", "args": {"success": false, "result": "no"}}}',
         Plan([Step("finish", {"success": False, "result": "no"})])),
    ],
)  # fmt: skip
def test_a_written_answer_is_read(said: Any, plan: Plan) -> None:
    assert read(choice(said), TOOLS) == plan


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "the answer is empty"),
        (None, "the answer is empty"),
        ("I tapped it.", "not one JSON object: I tapped it"),
        ("[1, 2]", "not one JSON object"),
        ('{"thought": "t"}', 'no "action"'),
        ('{"action": "tap"}', 'no "action"'),
        ('{"action": {"tool": "fly", "args": {}}}', "there is no tool 'fly' now; there are: finish, tap"),
        ('{"action": {"tool": "tap", "args": {"x": "1"}}}', "tap: args.x must be of type integer"),
        ('{"action": {"tool": "tap", "args": [1]}}', "the arguments of tap must be an object"),
        ('{"action": {"tool": "tap"}}', "tap: args.x is missing"),
        ('{"action": {"tool": "finish", "args": {"success": "yes", "result": ""}}}', "finish: args.success must be"),
        ("{" * 100_000, "not one JSON object"),
        ('{"a":' * 100_000, "not one JSON object"),
    ],
)
def test_nonsense_is_said_to_be(said: Any, why: str) -> None:
    with pytest.raises(Nonsense, match=why.replace("[", r"\[")):
        read(choice(said), TOOLS)


def test_an_answer_that_was_cut_off_is_nonsense() -> None:
    with pytest.raises(Nonsense, match="cut off"):
        read(choice(TAP, finish_reason="length"), TOOLS)


def test_native_calls_are_read_in_order() -> None:
    said = choice("first", tool_calls=native(("tap", '{"x": 1}'), ("finish", {"success": True, "result": "ok"})))
    plan = read(said, TOOLS)
    assert plan == Plan([Step("tap", {"x": 1}, "i0"), Step("finish", {"success": True, "result": "ok"}, "i1")], "first")
    assert [finished(step) for step in plan.steps] == [None, Finish(True, "ok")]


@pytest.mark.parametrize(
    ("name", "args"), [("tap", '{"x": 1'), ("tap", "[]"), ("", "{}"), ("fly", "{}"), ("tap", None)]
)
def test_native_calls_with_broken_arguments_are_nonsense(name: str, args: Any) -> None:
    with pytest.raises(Nonsense):
        read(choice(tool_calls=native((name, args))), TOOLS)


@pytest.mark.parametrize("more", [{"refusal": "I can't help with that"}, {"finish_reason": "content_filter"}])
def test_a_refusal_is_no_nonsense(more: Any) -> None:
    with pytest.raises(Refused):
        read(choice(TAP, **more), TOOLS)


@given(st.text(alphabet='{}[]":,\\ atolgsx1', max_size=60))
def test_any_text_is_a_plan_or_nonsense(text: str) -> None:
    found = first_object(text)
    assert found is None or isinstance(found, dict)
    with suppress(Nonsense):
        read(choice(text), TOOLS)

"""What a model answered, read as steps: calls of tools, or the word that it is finished. Pure."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct, field

from treadle.faces.ufo.runners.schema import FINISH, fault

MOST_CALLS = 16
"""Native tool calls taken from one answer."""
_SHOWN = 300
_TRIES = 50
_LONGEST = 2**18
"""Characters in which a step is looked for; looking through more would hold everybody up."""
_DECODER = json.JSONDecoder()  # the one decoder that says where an object ends


class Nonsense(Exception):
    """The answer cannot be used; the text tells the model why."""


class Refused(Exception):
    """The model says that it will not do it."""


class Function(Struct):
    """A native tool call: `arguments` is JSON in a string, and some engines send the object itself."""

    name: str = ""
    arguments: Any = None


class NativeCall(Struct):
    """One entry of a message's `tool_calls`."""

    function: Function
    id: str | None = None


class Message(Struct):
    """An assistant's message. `content` is text, or a list of parts that hold text."""

    content: Any = None
    refusal: str | None = None
    tool_calls: list[NativeCall] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            parts = (part.get("text") for part in self.content if isinstance(part, dict))
            return "".join(text for text in parts if isinstance(text, str))
        return self.content if isinstance(self.content, str) else ""


class Choice(Struct):
    """The first choice of a completion."""

    message: Message
    finish_reason: str | None = None


class Step(Struct, frozen=True):
    """One call that the model wants. `call_id` is set for native calls."""

    tool: str
    args: dict[str, Any]
    call_id: str = ""


class Plan(Struct, frozen=True):
    """What the model wants next, in order, and what it thought."""

    steps: list[Step] = field(default_factory=list)
    thought: str = ""


class Finish(Struct, frozen=True):
    """The arguments of `finish`."""

    success: bool
    result: str


def read(choice: Choice, tools: Mapping[str, dict[str, Any]]) -> Plan:
    """The plan in an answer, checked against the schemas of the arguments of what is offered, `finish` included.

    Raises Nonsense, Refused.
    """
    message = choice.message
    if message.refusal:
        raise Refused(message.refusal)
    if choice.finish_reason == "content_filter":
        raise Refused("the endpoint's content filter stopped the answer")
    if message.tool_calls:
        return _native(message, tools)
    text = message.text
    if choice.finish_reason == "length":
        raise Nonsense("the answer was cut off because it was too long: be brief")
    return _written(text, tools)


def finished(step: Step) -> Finish | None:
    """The end that a step means, or None for a call of a device's tool."""
    return Finish(bool(step.args["success"]), str(step.args["result"])) if step.tool == FINISH else None


def _native(message: Message, tools: Mapping[str, dict[str, Any]]) -> Plan:
    steps = []
    for call in (message.tool_calls or [])[:MOST_CALLS]:
        args = call.function.arguments
        if isinstance(args, str):
            try:
                args = msgspec.json.decode(args or "{}")
            except msgspec.DecodeError:
                raise Nonsense(f"the arguments of {call.function.name} are not JSON") from None
        steps.append(_checked(call.function.name, {} if args is None else args, tools, call.id or ""))
    return Plan(steps, message.text)


def _written(text: str, tools: Mapping[str, dict[str, Any]]) -> Plan:
    found = first_object(text)
    if found is None:
        shown = text.strip()[:_SHOWN]
        raise Nonsense(f"the answer is not one JSON object: {shown}" if shown else "the answer is empty")
    action = found.get("action", found)  # models leave the wrapping out
    if not isinstance(action, dict) or not isinstance(name := action.get("tool"), str):
        raise Nonsense('the answer has no "action" with "tool" and "args"')
    thought = found.get("thought")
    return Plan([_checked(name, action.get("args", {}), tools, "")], thought if isinstance(thought, str) else "")


def _checked(name: str, args: Any, tools: Mapping[str, dict[str, Any]], call_id: str) -> Step:
    schema = tools.get(name)
    if schema is None:
        raise Nonsense(f"there is no tool {name!r} now; there are: {', '.join(tools)}")
    if not isinstance(args, dict):
        raise Nonsense(f"the arguments of {name} must be an object")
    if why := fault(args, schema):
        raise Nonsense(f"{name}: {why}")
    return Step(name, args, call_id)


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, whatever stands around it; what a model thought aloud before is passed over."""
    start = text.rfind("</think>") + 1
    text = text[: start + _LONGEST]
    for _ in range(_TRIES):
        start = text.find("{", start)
        if start < 0:
            break
        with suppress(ValueError, RecursionError):
            found, _end = _DECODER.raw_decode(text, start)
            return found if isinstance(found, dict) else None
        start += 1
    return None

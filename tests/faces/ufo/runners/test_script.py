"""Scripts: several calls in order, until one fails."""

from __future__ import annotations

import pytest

from tests.faces.ufo.runners.scripted import ENVIRONMENT, INJECT, Device, ran, task
from treadle.faces.ufo.runners.script import Script
from treadle.faces.ufo.running import Outcome

THREE = '[{"tool": "execute_command", "args": {"command": "a"}}, {"tool": "execute_command", "args": {"command": "b"}}, {"tool": "execute_command", "args": {"command": "c"}}]'  # noqa: E501


async def run(request: str, device: Device) -> Outcome:
    return await Script(INJECT, ENVIRONMENT).run(task(request), device)


async def test_calls_are_done_in_order() -> None:
    device = Device()
    outcome = await run(THREE, device)
    assert (outcome.ok, outcome.output) == (True, "did c")
    assert [call.args["command"] for call in device.calls] == ["a", "b", "c"]
    assert [one["result"] for one in outcome.rounds] == ["did a", "did b", "did c"]


async def test_the_first_failure_is_the_end() -> None:
    device = Device(lambda call: ran("", 1, "no") if call.args["command"] == "b" else ran("ok"))
    outcome = await run(THREE, device)
    assert (outcome.ok, outcome.error) == (False, "call 2 of 3, execute_command: exit code 1: no")
    assert len(device.calls) == len(outcome.rounds) == 2


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("hello", "the script is not JSON"),
        ("[]", "a script is a JSON list of 1 to 1000 tool calls"),
        ('{"tool": "a"}', "a script is a JSON list"),
        ('[{"tool": "execute_command"}, {"tool": "fly"}]', "this device has no tool fly"),
        ('[{"tool": "execute_command"}, 7]', "a tool call is written"),
    ],
)
async def test_a_bad_script_calls_nothing(request_: str, why: str) -> None:
    device = Device()
    outcome = await run(request_, device)
    assert not outcome.ok
    assert why in str(outcome.error)
    assert device.calls == []

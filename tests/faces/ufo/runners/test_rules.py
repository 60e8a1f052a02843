"""Requests that are carried out without a model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.ufo.runners.scripted import COMMAND, ENVIRONMENT, INJECT, SECRET, Device, OwnDevice, ran, task
from treadle.faces.ufo.runners.rules import NO_MODEL, Rules
from treadle.faces.ufo.running import CommandFailed, CommandTimeout, DeviceGone, Outcome, Tool, ToolCall, ToolResult


async def run(
    request: str, device: Device, inject: Any = INJECT, environment: Any = ENVIRONMENT, **more: Any
) -> Outcome:
    return await Rules(inject, environment).run(task(request, **more), device)


async def test_a_command_line_goes_to_the_command_tool_with_its_key() -> None:
    device = Device(lambda _: ran("Linux\n"))
    outcome = await run("run: uname -s", device)
    assert (outcome.ok, outcome.output, outcome.error) == (True, "Linux", None)
    assert device.calls == [ToolCall("execute_command", {"command": "uname -s", "api_key": SECRET})]
    assert device.agents == [("LinuxAgent", "")]
    assert (outcome.rounds[0]["request"], outcome.rounds[0]["result"]) == ("run: uname -s", "Linux")
    assert [fact["event"] for fact in device.facts] == ["call", "result"]
    assert SECRET not in str(device.facts) + str(outcome)


async def test_an_exit_code_is_a_failure() -> None:
    outcome = await run("run: false", Device(lambda _: ran("half\n", 3, "bad luck")))
    assert (outcome.ok, outcome.output, outcome.error) == (False, "half", "exit code 3: bad luck")
    assert outcome.rounds[0]["answer"]["exit_code"] == 3


@pytest.mark.parametrize(
    ("tool", "parameter"),
    [
        (Tool("run_shell", input_schema={"properties": {"bash_command": {"type": "string"}}}), "bash_command"),
        (Tool("run_shell"), "bash_command"),
        (Tool("execute_command", input_schema={"type": "object"}), "command"),
        (
            Tool("run_command", input_schema={"properties": {"cmd": {"type": "string"}, "cwd": {"type": "string"}}}),
            "cmd",
        ),
        (Tool("shell", input_schema={"properties": {"line": {"type": "string"}, "n": {"type": "integer"}}}), "line"),
        (Tool("my_terminal", input_schema={"properties": {"command": {"type": "string"}}}), "command"),
    ],
)
async def test_the_parameter_is_found_from_the_schema(tool: Tool, parameter: str) -> None:
    device = Device(tools=(Tool("tap"), tool))
    assert (await run("run: date", device, inject={})).ok
    assert device.calls == [ToolCall(tool.name, {parameter: "date"})]


@pytest.mark.parametrize(
    "request_",
    [
        '{"tool": "tap", "args": {"x": 1, "y": 2}}',
        'tap {"x": 1, "y": 2}',
        "tap x=1 y=2",
    ],
)
async def test_a_tool_is_called_by_name(request_: str) -> None:
    schema = {"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}}
    device = Device(lambda _: ToolResult("success", {"tapped": True}), (Tool("tap", "action", input_schema=schema),))
    outcome = await run(request_, device, platform="mobile")
    assert (outcome.ok, outcome.output) == (True, {"tapped": True})
    assert (device.calls, device.agents) == ([ToolCall("tap", {"x": 1, "y": 2})], [("MobileAgent", "")])


async def test_a_tool_that_only_looks_is_called_as_one() -> None:
    device = Device(lambda _: ToolResult("success", "tree"), (Tool("get_ui_tree", "data_collection"),))
    assert (await run("get_ui_tree", device)).output == "tree"
    assert device.calls == [ToolCall("get_ui_tree", {}, "data_collection")]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("Which OS is this?", NO_MODEL),
        ("inventory", NO_MODEL),
        ("dance x=1", "this device has no tool dance; it has: execute_command"),
        ("tap {x}", "the arguments of tap are not"),
        ("execute_command timeout=soon", "timeout='soon' is not integer"),
    ],
)
async def test_what_cannot_be_done_says_why(request_: str, why: str) -> None:
    device = Device()
    outcome = await run(request_, device)
    assert not outcome.ok
    assert why in str(outcome.error)
    assert device.calls == []


def test_the_default_failure_names_what_to_configure() -> None:
    assert all(name in NO_MODEL for name in ("[ufo.llm]", "base_url", "model", "api_key_env"))


async def test_a_device_without_a_command_tool_says_what_it_has() -> None:
    outcome = await run("run: ls", Device(tools=(Tool("tap"),)))
    assert outcome.error == "this device has no tool that runs a command line; it has: tap"


async def test_a_key_that_is_not_set_is_named_and_nothing_is_called() -> None:
    device = Device()
    outcome = await run("run: ls", device, environment={})
    assert not outcome.ok
    assert "DEVICE_KEY" in str(outcome.error)
    assert device.calls == []


async def test_nobody_but_the_settings_gives_an_injected_argument() -> None:
    device = Device()
    await run('execute_command {"command": "ls", "api_key": "mine"}', device)
    assert device.calls[0].args["api_key"] == SECRET


async def test_a_key_that_the_device_shows_is_hidden() -> None:
    for result in (ran(f"key={SECRET}", 1, f"bad key {SECRET}"), ToolResult("failure", error=f"invalid: {SECRET}")):
        device = Device(lambda _, result=result: result)  # type: ignore[misc]
        outcome = await run("run: env", device)
        assert SECRET not in str(outcome) + str(device.facts)
        assert "[hidden]" in str(outcome.error)


@pytest.mark.parametrize("fault", [CommandTimeout("no answer in 300 s"), CommandFailed("cannot"), DeviceGone("gone")])
async def test_a_session_that_cannot_go_on_is_a_failure(fault: Exception) -> None:
    def breaks(_: ToolCall) -> ToolResult:
        raise fault

    outcome = await run("run: ls", Device(breaks))
    assert (outcome.ok, outcome.error) == (False, str(fault))


async def test_a_device_that_executes_requests_gets_free_text_whole() -> None:
    metadata = {"executes_requests": True}
    for request in ("Which OS is this?", "inventory", "dance x=1"):
        assert (await run(request, OwnDevice(), metadata=metadata)).output == "done by itself"
    assert (await run("run: ls", OwnDevice(tools=(Tool("tap"),)), metadata=metadata)).output == "done by itself"
    device = OwnDevice(tools=(COMMAND,))
    assert (await run("run: ls", device, metadata=metadata)).output == "did ls"
    assert (await run("Which OS is this?", OwnDevice(), metadata={"executes_requests": "no"})).error == NO_MODEL

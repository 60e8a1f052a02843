"""A device's tools as runners see them."""

from __future__ import annotations

from tests.faces.ufo.runners.scripted import COMMAND, ENVIRONMENT, INJECT, SECRET, Device, task
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import CommandTimeout, Tool, ToolCall, ToolResult

CLICK = {"tool_name": "click_input", "tool_type": "action", "namespace": "App", "input_schema": {"type": "object"}}
SELECT = Tool("select_application_window")


async def test_injected_arguments_are_not_shown() -> None:
    box = await Toolbox.open(task("x"), Device(tools=(COMMAND, Tool("list_tools"))), INJECT, ENVIRONMENT)
    schema = box.tools["execute_command"].input_schema
    assert (list(schema["properties"]), schema["required"]) == (["command", "timeout"], ["command"])
    assert list(box.tools) == ["execute_command"]
    assert SECRET not in str(box.tools)


def windows(call: ToolCall) -> ToolResult:
    if call.name == "list_tools":
        return ToolResult("success", [CLICK, {"odd": 1}] if call.args == {"tool_type": "action"} else [])
    return ToolResult("success", {"root_name": "EXCEL.EXE"} if call.name == SELECT.name else "clicked")


async def test_windows_has_a_second_set_for_the_chosen_application() -> None:
    device = Device(windows, (SELECT,))
    box = await Toolbox.open(task("x", platform="windows"), device, {}, {})
    assert list(box.tools) == ["select_application_window", "click_input"]
    await box.call("select_application_window", {"id": "1", "name": "x"})
    await box.call("click_input", {})
    assert device.agents[2:] == [("HostAgent", ""), ("AppAgent", "EXCEL.EXE")]


async def test_a_windows_device_without_the_second_set_has_the_first() -> None:
    def silent(_: ToolCall) -> ToolResult:
        raise CommandTimeout("no answer")

    box = await Toolbox.open(task("x", platform="windows"), Device(silent, (SELECT,)), {}, {})
    assert list(box.tools) == ["select_application_window"]

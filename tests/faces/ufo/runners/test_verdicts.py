"""Whether a tool did its work, and what a person sees of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.ufo.runners.scripted import ran
from treadle.faces.ufo.runners.verdicts import failure, output
from treadle.faces.ufo.running import ToolResult

FAILED = [
    (ToolResult("failure", error="no such window"), "no such window"),
    (ToolResult("failure", "it broke"), "it broke"),
    (ToolResult("none", error="The device gave no result"), "The device gave no result"),
    (ToolResult("skipped"), "the device answered skipped"),
    (ran("", 3, "boom\n"), "exit code 3: boom"),
    (ran("only stdout", 2), "exit code 2: only stdout"),
    (ToolResult("success", {"exit_code": 1}), "exit code 1"),
    (ToolResult("success", {"returncode": 127, "stderr": "x: not found"}), "exit code 127: x: not found"),
    (ToolResult("success", {"success": False, "error": "not on the list"}), "not on the list"),
    (ToolResult("success", {"exit_code": -9, "stderr": "half", "error": "stopped after 60 s"}),
     "exit code -9: stopped after 60 s"),
    (ToolResult("success", {"success": False}), "the tool says that it failed"),
    (ToolResult("success", '{"success": false, "error": "in a string"}'), "in a string"),
    (ToolResult("success", {"result": {"success": False, "error": "wrapped"}}), "wrapped"),
    (ToolResult("success", {"content": [{"type": "text", "text": "bad"}], "isError": True}), "bad"),
    (ToolResult("success", {"error": "only an error"}), "only an error"),
]  # fmt: skip
WORKED = [
    (ran("Linux\n"), "Linux"),
    (ToolResult("success", '{"success": true, "exit_code": 0, "stdout": "a\\nb\\n"}'), "a\nb"),
    (ToolResult("success", "plain text\n"), "plain text\n"),
    (ToolResult("success", '{"name": "printed"}'), '{"name": "printed"}'),
    (ToolResult("success", "{broken}"), "{broken}"),
    (ToolResult("success", {"result": "wrapped"}), "wrapped"),
    (ToolResult("success", [{"type": "text", "text": "content"}]), "content"),
    (ToolResult("success", [{"id": 1}]), [{"id": 1}]),
    (ToolResult("success", {"os": "Linux", "error": None}), {"os": "Linux", "error": None}),
    (ToolResult("success", {"success": True, "path": "/x"}), {"success": True, "path": "/x"}),
    (ToolResult("success", None), None),
]


@pytest.mark.parametrize(("result", "why"), FAILED)
def test_a_failure_is_seen(result: ToolResult, why: str) -> None:
    assert failure(result) == why


@pytest.mark.parametrize(("result", "shown"), WORKED)
def test_a_success_is_seen(result: ToolResult, shown: Any) -> None:
    assert (failure(result), output(result)) == (None, shown)


def test_a_long_complaint_keeps_its_end() -> None:
    why = failure(ran("", 1, "x" * 5000 + "the reason"))
    assert why is not None
    assert len(why) < 600
    assert why.endswith("the reason")

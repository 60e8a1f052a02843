"""The prompts against a real server: which there are, what they need, and whether what they advise can be done."""

from __future__ import annotations

import re

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import TextContent

from tests.faces.mcp.asking import Tools
from tests.faces.mcp.contract import PROMPTS, TOOLS
from treadle.faces.taskdriver.prompts import PROMPTS as OURS

ARGUMENTS = {prompt.name: [argument.name for argument in prompt.arguments] for prompt in OURS}


async def read(tools: Tools, name: str, **given: str) -> str:
    (message,) = (await tools.client.get_prompt(name, given)).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_they_are_those_of_the_contract(tools: Tools) -> None:
    listed = (await tools.client.list_prompts()).prompts
    assert {prompt.name for prompt in listed} == PROMPTS
    assert len(listed) == 16
    for prompt in listed:
        assert prompt.description
        assert [argument.name for argument in prompt.arguments or () if argument.required] == ["project_name"]


async def test_they_speak_of_the_project_and_of_tools_that_exist(tools: Tools) -> None:
    for name in sorted(PROMPTS):
        text = await read(tools, name, project_name="looms")
        assert "looms" in text, name
        assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) <= TOOLS.keys(), name
        assert not [argument for argument in ARGUMENTS[name] if "{{" + argument + "}}" in text], name
        for argument in ARGUMENTS[name][1:]:
            given = {argument: "seven {{red}} looms"}
            assert "seven {{red}} looms" in await read(tools, name, project_name="x", **given), name


async def test_it_needs_a_project(tools: Tools) -> None:
    for given in ({}, {"project_name": " "}):
        with pytest.raises(MCPError, match="needs project_name"):
            await read(tools, "batch-process", **given)
    with pytest.raises(MCPError, match="Prompt nothing not found"):
        await read(tools, "nothing", project_name="looms")

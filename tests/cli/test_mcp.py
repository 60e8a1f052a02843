"""`treadle mcp` as an agent's program starts it: a child that speaks MCP on its stdin and stdout."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from tests.faces.mcp.asking import Tools
from tests.faces.mcp.contract import PROMPTS, TOOLS
from tests.scenarios.serving import Running, command, environment, server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp") / "home"


@pytest.fixture(scope="module")
def up(home: Path) -> Iterator[Running]:
    """A server that asks everybody for a key."""
    with server(home, "--auth", "required") as running:
        yield running


@asynccontextmanager
async def over_stdio(home: Path, mode: str = "legacy") -> AsyncIterator[Tools]:
    """A child of our own, started as an agent's program starts it."""
    child = StdioServerParameters(command=sys.executable, args=command("mcp")[1:], env=environment(home))
    async with Client(child, mode=mode) as client:
        yield Tools(client)


def started(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """How a start ended that did not come to anything; nobody speaks to it."""
    return subprocess.run(
        command("mcp", *arguments), env=environment(home, extra),
        input="", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_whole_life_over_stdio(home: Path, up: Running, mode: str) -> None:
    async with over_stdio(home, mode) as tools:
        assert tools.client.server_info is not None
        assert tools.client.server_info.name == "taskdriver-mcp"
        assert "get_next_task" in (tools.client.instructions or "")
        assert {tool.name for tool in (await tools.client.list_tools()).tools} == TOOLS.keys()
        project = f"stdio-{mode}"
        await tools("create_project", name=project, description="For one test")
        await tools("create_task_type", projectId=project, name="greet", template="Greet {{who}}")
        await tools("create_task", projectId=project, variables='{"who": "Ada"}', id="ada")
        told = await tools.told("get_next_task", projectId=project)
        assert told["data"]["instructions"] == "Greet Ada"
        again = await tools.told("get_next_task", projectId=project)
        assert (again["agentName"], again["data"]["id"]) == (told["agentName"], "ada")
        done = await tools(
            "complete_task", agentName=told["agentName"], projectId=project, taskId="ada", result="Hello, Ä\n☺"
        )
        assert done["result"]["output"] == "Hello, Ä\n☺"
        assert await tools.refused("get_next_task", projectId=project) == "No tasks available for assignment"
        assert await tools.refused("weave") == "Tool weave not found"
        assert 'nonsense: "nonsense" is not allowed' in await tools.refused("health_check", nonsense=1)


async def test_prompts_over_stdio(home: Path, up: Running) -> None:
    async with over_stdio(home) as tools:
        assert {prompt.name for prompt in (await tools.client.list_prompts()).prompts} == PROMPTS
        (message,) = (await tools.client.get_prompt("track-progress", {"project_name": "looms"})).messages
        assert "looms" in message.model_dump_json()
        with pytest.raises(MCPError, match="needs project_name"):
            await tools.client.get_prompt("track-progress", {})


async def test_an_agent_that_is_started_again_gets_its_task_back(home: Path, up: Running) -> None:
    async with over_stdio(home) as tools:
        await tools("create_project", name="again", description="For one test")
        await tools("create_task_type", projectId="again", name="sit")
        await tools("create_task", projectId="again", id="sit")
        await tools("get_next_task", projectId="again", agentName="ada")
    async with over_stdio(home) as tools:
        assert (await tools("get_next_task", projectId="again", agentName="ada"))["id"] == "sit"


async def test_it_outlives_the_server_and_finds_the_next_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server(home) as first:
        async with over_stdio(home) as tools:
            await tools("create_task_type", projectId="default", name="sit")
            await tools("create_task", projectId="default", id="sit")
            name = (await tools.told("get_next_task", projectId="default"))["agentName"]
            assert first.stop() == 0
            with server(home) as second:
                assert second.urls != first.urls
                told = await tools.told("get_next_task", projectId="default")
                assert (told["agentName"], told["data"]["id"]) == (name, "sit")
                second.process.kill()
                second.ended()
            error, prompts = await asyncio.gather(
                tools.refused("health_check"), tools.client.list_prompts(), return_exceptions=True
            )
            assert isinstance(error, str)
            assert "does not answer" in error
            assert isinstance(prompts, MCPError)
            assert "does not answer" in str(prompts)


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    done = started(tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"treadle: no server runs in {tmp_path}; start `treadle up`\n"


def test_a_server_that_is_gone_is_named(tmp_path: Path) -> None:
    done = started(tmp_path, "--server", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (3, "")
    assert "treadle: the server at http://127.0.0.1:9 does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("extra", [{}, {"TREADLE_KEY": "wrong"}])
def test_a_key_that_is_missing_or_wrong_is_refused(tmp_path: Path, up: Running, extra: Mapping[str, str]) -> None:
    done = started(tmp_path, "--server", up.urls["fabric"], **extra)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"treadle: the server at {up.urls['fabric']} refused: ")
    assert "wrong" not in line


def test_it_ends_at_once_when_it_is_interrupted(home: Path, up: Running) -> None:
    with subprocess.Popen(
        command("mcp"), env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        child.stdin.flush()
        assert b'"result"' in child.stdout.readline()  # it is serving, and reads stdin again
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130


def test_it_ends_with_its_stdin(home: Path, up: Running) -> None:
    done = started(home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""The client program that the Architect's document prints, run as it is printed, and the clients that browsers have.

Only host, port, user name and password are put into the program, on the lines where it asks for them.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from tests.faces.architect.offered import World
from tests.faces.architect.serving import Agent, agent

SEED = Path(__file__).resolve().parents[1] / "seeds" / "architect.py.txt"
SECONDS = 30.0

NODE = """
const [url, name, password] = process.argv.slice(1);
const socket = new WebSocket(url, ["SMP1.0", name, password]);
const waiting = new Map();
const ask = (action, parameters = {}) => new Promise((done) => {
  const token = crypto.randomUUID().replaceAll("-", "");
  waiting.set(token, done);
  socket.send(JSON.stringify({ action, parameters, idempotence: token }));
});
socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  const done = waiting.get(frame.idempotence);
  if (done) { waiting.delete(frame.idempotence); done(frame); }
};
socket.onerror = () => { console.log(JSON.stringify({ failed: true })); process.exit(3); };
socket.onopen = async () => {
  const actions = (await ask("list_actions")).parameters.actions;
  const servers = await ask("servers");
  console.log(JSON.stringify({ protocol: socket.protocol, actions: Object.keys(actions).length, servers }));
  socket.close(1000);
};
socket.onclose = ({ code }) => { console.log(JSON.stringify({ code })); };
"""

FIRST = "from __future__ import annotations\n"
LEGACY = """
import websockets, websockets.legacy.client
websockets.connect = websockets.legacy.client.connect
"""


def program(running: Agent, password: str) -> str:
    """The printed program with the four values of its own lines filled in."""
    text = SEED.read_text("utf-8")
    for line, value in (
        ('HOST = "your ip / hostname"', f'HOST = "{running.address.host}"'),
        ("PORT = 8090", f"PORT = {running.address.port}"),
        ('USERNAME = "username"', 'USERNAME = "root"'),
        ('PASSWORD = "password"', f'PASSWORD = "{password}"'),
    ):
        assert text.count(line) == 1
        text = text.replace(line, value)
    return text


async def started(text: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-W", "ignore", "-c", text, stdout=PIPE, stderr=PIPE
    )


async def lines_until(process: Process, last: str) -> list[str]:
    """What it prints, up to the line that begins so."""
    assert process.stdout is not None
    assert process.stderr is not None
    found: list[str] = []
    async with asyncio.timeout(SECONDS):
        while not found or not found[-1].startswith(last):
            line = await process.stdout.readline()
            if not line:
                raise AssertionError(f"it ended after {found}: {(await process.stderr.read()).decode()}")
            found.append(line.decode().rstrip("\n"))
    return found


async def ended(process: Process) -> str:
    process.terminate()
    _, errors = await process.communicate()
    return errors.decode()


@pytest.mark.parametrize("before", ["", LEGACY], ids=["new", "legacy"])
async def test_the_printed_client(tmp_path: Path, before: str) -> None:
    """Under the library's present implementation, and under the one of the versions before 14."""
    async with agent(tmp_path, offers=World().offers()) as running:
        process = await started(program(running, running.password).replace(FIRST, FIRST + before))
        try:
            printed = await lines_until(process, "{'idempotence'")
        finally:
            errors = await ended(process)
        assert errors == ""
        assert f"Connected to {running.url} (sub-protocol: 'SMP1.0')" in printed
        assert "Connected." in printed
        reply = ast.literal_eval(printed[-1])
        assert re.fullmatch("[0-9a-f]{32}", reply.pop("idempotence"))
        assert reply == {
            "status": "ok",
            "action": "servers",
            "parameters": {"servers": [{"id": name, "state": "stopped"} for name in ("alpha", "beta")], "total": 2},
        }
        events = [ast.literal_eval(line.removeprefix("event: ")) for line in printed if line.startswith("event: ")]
        assert "session.begin" in [event["event"] for event in events]
        assert running.password not in "\n".join(printed) + running.log()


async def test_its_generated_methods(tmp_path: Path) -> None:
    """The program's class builds a method for each action; here they are called by their listed parameters."""
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running:
        text = program(running, running.password).replace(
            "		print(await client.servers())",
            """		print(sorted(client._actions))
		print([await client.server_start(server=name) for name in ("alpha", "gamma")])
		print(await client.whoami.__func__(client), client.server_send.__doc__)
		try:
			await client.server_send(server="alpha")
		except TypeError as error:
			print("refused:", error)""",
        )
        process = await started(text)
        try:
            printed = await lines_until(process, "refused:")
        finally:
            assert await ended(process) == ""
        names = next(ast.literal_eval(line) for line in printed if line.startswith("['agent_"))
        assert names == sorted(running.app.performing._actions)
        started_ones = next(ast.literal_eval(line) for line in printed if line.startswith("[{"))
        assert [reply["status"] for reply in started_ones] == ["ok", "error"]
        assert printed[-1] == "refused: Missing ['input'] for action 'server_send'"
        assert world.done == [("start", "alpha")]


async def test_the_printed_client_with_a_wrong_password(tmp_path: Path) -> None:
    async with agent(tmp_path) as running:
        process = await started(program(running, "0b6f7d1c-6f1e-4a52-9a9b-1f0d7f1a2b3c"))
        async with asyncio.timeout(SECONDS):
            printed, errors = await process.communicate()
        assert process.returncode != 0
        assert printed == b""
        assert b"InvalidStatus" in errors
        assert b"401" in errors


async def in_node(url: str, *words: str) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        "node", "--no-warnings", "--experimental-websocket", "-e", NODE, "--", url, *words,
        stdout=PIPE, stderr=PIPE, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_TLS_REJECT_UNAUTHORIZED": "0"},
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        printed, errors = await process.communicate()
    assert errors == b""
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.needs("node")
@pytest.mark.parametrize("tls", [True, False], ids=["wss", "ws"])
async def test_the_client_of_browsers(tmp_path: Path, tls: bool) -> None:
    async with agent(tmp_path, tls=tls, offers=World().offers()) as running:
        opened, closed = await in_node(running.url, "root", running.password)
        assert opened["protocol"] == "SMP1.0"
        assert opened["actions"] == len(running.app.performing._actions)
        assert opened["servers"]["parameters"]["total"] == 2
        assert closed == {"code": 1000}
        refused = await in_node(running.url, "root", "wrong-password")
        assert refused == [{"failed": True}]

"""Who gets in at /mcp, what a session is there, and what a caller learns when something goes wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec import Struct

from tests.core.stage import set_stage
from treadle.core.access import Principal
from treadle.core.actions import Action, Answer, Caller, Prompt
from treadle.core.errors import StoreFull, Unauthenticated
from treadle.core.fabric import Fabric
from treadle.faces.fabric.errors import spell
from treadle.faces.mcp import PATH, About, routes
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.call import Call
from treadle.web.listen import Address, Face, Listeners
from treadle.web.log import Log

READER = Principal("reader", "fabric", ("queue:read",))
JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
OPENING = {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
}  # fmt: skip


class Word(Struct, forbid_unknown_fields=True):
    """One word."""

    word: str = ""


async def echo(_: Fabric, caller: Caller, params: Word) -> Answer:
    return Answer(data={"word": params.word, "by": caller.principal.name, "conversation": caller.conversation})


async def broken(_: Fabric, __: Caller, ___: Word) -> Answer:
    raise ZeroDivisionError("the secret is 1234")


async def full(_: Fabric, __: Caller, ___: Word) -> Answer:
    raise StoreFull("/home/somebody/treadle.db is full")


ACTIONS = [
    Action(name="echo", summary="Say it again", params=Word, scope="queue:read", run=echo, reads=True),
    Action(name="guarded", summary="Only for some", params=Word, scope="queue:manage", run=echo),
    Action(name="broken", summary="Break", params=Word, scope="queue:read", run=broken),
    Action(name="full", summary="Find no room", params=Word, scope="queue:read", run=full),
]
PROMPTS = [Prompt(name="advice", summary="Advice", arguments=(), text=lambda _: "Sit down")]


class Wire:
    """A client that speaks JSON-RPC by hand."""

    def __init__(self, http: httpx2.AsyncClient, log: list[bytes]) -> None:
        self.http, self.log = http, log

    async def post(self, method: str, params: Any = None, **headers: str) -> httpx2.Response:
        body = {"jsonrpc": "2.0", "id": 1, "method": method} | ({} if params is None else {"params": params})
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(PATH, json=body, headers=JSON | {"authorization": "Bearer good"} | named)

    async def call(self, tool: str, arguments: Any = None, **headers: str) -> dict[str, Any]:
        answer = await self.post("tools/call", {"name": tool, "arguments": arguments or {}}, **headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = json.loads(answer.json()["result"]["content"][0]["text"])
        return told


async def authenticate(call: Call) -> Principal:
    if call.header("authorization") != "Bearer good":
        raise Unauthenticated("A key is needed")
    return READER


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with set_stage(tmp_path / "treadle.db") as stage:
        lines: list[bytes] = []
        about = About("looms", "Looms", "1", "Weave.")
        app = App(
            name="fabric", routes=routes(stage.fabric, ACTIONS, PROMPTS, about), spell=spell,
            authenticate=authenticate, admission=Admission(), log=Log(lines.append), body_limit=10_000,
        )  # fmt: skip
        listeners = Listeners([Face("fabric", app, Address("127.0.0.1", 0))], grace=2.0)
        listeners.open()
        serving = asyncio.create_task(listeners.serve())
        await listeners.ready.wait()
        async with httpx2.AsyncClient(base_url=listeners.urls["fabric"], trust_env=False) as http:
            yield Wire(http, lines)
        listeners.stop()
        await serving


async def test_a_session_is_a_name_that_opening_it_hands_out(wire: Wire) -> None:
    opened = await wire.post("initialize", OPENING)
    assert opened.json()["result"]["serverInfo"] == {"name": "looms", "title": "Looms", "version": "1"}
    assert opened.json()["result"]["instructions"] == "Weave."
    session = opened.headers["mcp-session-id"]
    other = (await wire.post("initialize", OPENING)).headers["mcp-session-id"]
    assert session != other
    told = await wire.call("echo", {"word": "hi"}, mcp_session_id=session)
    assert told["data"] == {"word": "hi", "by": "reader", "conversation": session}
    assert (await wire.call("echo"))["data"]["conversation"] is None
    assert (await wire.call("echo", mcp_session_id="x" * 129))["data"]["conversation"] is None
    ended = await wire.http.request(
        "DELETE", PATH, headers={"authorization": "Bearer good", "mcp-session-id": session}
    )  # fmt: skip
    assert (ended.status_code, ended.content) == (204, b"")


async def test_a_message_that_asks_nothing_is_taken(wire: Wire) -> None:
    answer = await wire.http.post(
        PATH, json={"jsonrpc": "2.0", "method": "notifications/initialized"},
        headers=JSON | {"authorization": "Bearer good"},
    )  # fmt: skip
    assert (answer.status_code, answer.content) == (202, b"")


async def test_every_answer_has_the_headers_of_the_listener(wire: Wire) -> None:
    answer = await wire.post("tools/list", x_correlation_id="abc")
    assert answer.headers["x-correlation-id"] == "abc"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get_list("content-type") == ["application/json"]
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == ["echo", "guarded", "broken", "full"]
    assert [tool["annotations"]["readOnlyHint"] for tool in answer.json()["result"]["tools"]][:2] == [True, False]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer bad"}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"accept": "text/plain"}, 406),
        ({"mcp_protocol_version": "1999-01-01"}, 400),
    ],
)
async def test_who_does_not_get_in(wire: Wire, headers: dict[str, str], status: int) -> None:
    assert (await wire.post("tools/list", **headers)).status_code == status


async def test_what_is_not_json_is_refused_in_plain_words(wire: Wire) -> None:
    answer = await wire.post("tools/list", content_type="text/plain")
    assert (answer.status_code, answer.text) == (400, "Invalid Content-Type header")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_nothing_is_pushed_so_there_is_no_stream_to_open(wire: Wire) -> None:
    answer = await wire.http.get(PATH, headers={"authorization": "Bearer good", "accept": "text/event-stream"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, OPTIONS, POST"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b"7", 400),
        (b'{"jsonrpc":"2.0","id":1}', 400),
        (b"[" * 5000, 400),
        (b" " * 10_001, 413),
    ],
)
async def test_what_is_no_message_is_refused(wire: Wire, body: bytes, status: int) -> None:
    answer = await wire.http.post(PATH, content=body, headers=JSON | {"authorization": "Bearer good"})
    assert answer.status_code == status, answer.text


async def test_an_unknown_method_is_an_error_of_the_protocol(wire: Wire) -> None:
    answer = await wire.post("weave")
    assert answer.json()["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("tool", "arguments", "error"),
    [
        ("guarded", {}, "guarded needs the right queue:manage"),
        ("nothing", {}, "Tool nothing not found"),
        ("broken", {}, "Internal server error"),
        ("full", {}, "The disk that holds the store is full; nothing was changed. Free some space and try again."),
        ("echo", {"word": 7}, 'Validation failed: word: "word" must be a string'),
        ("echo", {"word": "\0"}, 'Validation failed: word: "word" must not contain a NUL character'),
        ("echo", {"format": ["json"]}, 'Validation failed: format: "format" must be one of [json, human]'),
    ],
)
async def test_every_refusal_has_one_shape(wire: Wire, tool: str, arguments: Any, error: str) -> None:
    assert await wire.call(tool, arguments) == {"success": False, "error": error}


async def test_half_a_character_is_refused_in_either_era(wire: Wire) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": OPENING["clientInfo"],
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"word": "\ud800"}, "_meta": meta},
    }  # fmt: skip
    headers = JSON | {"authorization": "Bearer good", "mcp-method": "tools/call", "mcp-name": "echo"}
    modern = await wire.http.post(
        PATH, content=json.dumps(body), headers=headers | {"mcp-protocol-version": "2026-07-28"}
    )  # fmt: skip
    assert "not Unicode text" in modern.json()["result"]["content"][0]["text"]
    assert (await wire.http.post(PATH, content=json.dumps(body), headers=headers)).status_code == 400


async def test_the_sdk_is_not_imported_before_the_first_request() -> None:
    """In a process of its own: this one has it already."""
    told = "import sys, treadle.faces.mcp; print(sorted({'mcp', 'pydantic', 'httpx2', 'anyio'} & sys.modules.keys()))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", told, stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0] == b"[]\n"

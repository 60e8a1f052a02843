"""The handshake, its refusals and its bans, and what is never said of the credentials (spec 1, 2)."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.faces.architect.serving import Agent, agent, trusting
from treadle.faces.architect import door

WRONG = str(uuid.UUID(int=7))


async def status(running: Agent, words: list[str], **more: Any) -> tuple[int, dict[str, Any], Any]:
    """The refusal of a handshake: status, body, headers."""
    with pytest.raises(InvalidStatus) as refusal:
        async with running.knock(words, **more):
            pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"{}"), response.headers


async def plain(running: Agent, request: str) -> tuple[int, dict[str, str], bytes]:
    """One HTTP request by hand."""
    reader, writer = await asyncio.open_connection(
        running.address.host, running.address.port, ssl=trusting() if running.tls else None
    )
    writer.write(request.replace("\n", "\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    writer.close()
    return int(head[0].split()[1]), headers, body


UPGRADE = (
    "GET {path} HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
    "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{more}\n"
)


async def test_the_handshake_answers_the_protocol_alone(tmp_path: Path) -> None:
    async with agent(tmp_path) as running:
        assert stat.S_IMODE(running.root_file.stat().st_mode) == 0o600
        assert str(uuid.UUID(running.password)) == running.password
        async with running.dial() as connection:
            assert connection.subprotocol == "SMP1.0"
            answered = connection.response.headers.get_all("Sec-WebSocket-Protocol")  # type: ignore[union-attr]
            assert answered == ["SMP1.0"]


async def test_several_header_lines_are_one_list(tmp_path: Path) -> None:
    async with agent(tmp_path, tls=False) as running:
        lines = f"Sec-WebSocket-Protocol: SMP1.0 ,root\nsec-websocket-protocol:  {running.password}\n"
        code, headers, _ = await plain(running, UPGRADE.format(path="/ws", more=lines))
        assert (code, headers["sec-websocket-protocol"]) == (101, "SMP1.0")


async def test_basic_credentials_beside_the_protocol(tmp_path: Path) -> None:
    async with agent(tmp_path) as running:
        shown = base64.b64encode(f"root:{running.password}".encode()).decode()
        async with running.knock(["SMP1.0"], additional_headers={"Authorization": f"Basic {shown}"}) as connection:
            assert connection.subprotocol == "SMP1.0"


async def test_plain_requests(tmp_path: Path) -> None:
    async with agent(tmp_path, hostname="node-7") as running:
        ask = "GET {} HTTP/1.1\nHost: localhost\n\n"
        code, _, body = await plain(running, ask.format("/"))
        told = {"agent": {"version": "1.2.3", "ssl": True}, "system": {"hostname": "node-7"}, "status": "running"}
        assert (code, json.loads(body)) == (200, told)
        code, headers, body = await plain(running, ask.format("/ws"))
        assert (code, headers["upgrade"], json.loads(body)["error"]) == (426, "websocket", "upgrade_required")
        code, _, body = await plain(running, ask.format("/elsewhere"))
        assert (code, json.loads(body)["error"]) == (404, "not_found")
        code, headers, body = await plain(running, UPGRADE.format(path="/elsewhere", more=""))
        assert (code, json.loads(body)["error"], headers["connection"]) == (404, "not_found", "close")


async def test_refusals_before_the_upgrade_look_the_same(tmp_path: Path) -> None:
    async with agent(tmp_path, attempts=100) as running:
        refused = [
            await status(running, words)
            for words in (
                ["SMP1.0", "root", WRONG],
                ["SMP1.0", "nobody", WRONG],
                ["SMP1.0", "root"],
                ["SMP1.0", "root", running.password, "more"],
                ["smp1.0", "root", running.password],
                ["root", "SMP1.0", running.password],
            )
        ]
        none = await plain(running, UPGRADE.format(path="/ws", more=""))
        assert none[0] == 401
        told = json.loads(none[2])
        assert (told["status"], told["error"]) == ("error", "unauthorized")
        assert all((code, body) == (401, told) for code, body, _ in refused)
        assert {headers["Connection"] for _, _, headers in refused} == {"close"}


async def test_a_ban_after_five_failures_lifts_by_itself(tmp_path: Path) -> None:
    async with agent(tmp_path, host="0.0.0.0") as running:
        wrong, right = ["SMP1.0", "root", WRONG], ["SMP1.0", "root", running.password]
        other: dict[str, Any] = {"local_addr": ("127.0.0.2", 0)}
        async with running.client() as watching:
            assert [(await status(running, wrong, **other))[0] for _ in range(5)] == [401] * 5
            code, body, headers = await status(running, right, **other)
            assert (code, body["error"], headers["Retry-After"]) == (403, "banned", "60")
            await watching.event("auth.failed", address="127.0.0.2")
            await watching.event("auth.banned", address="127.0.0.2", seconds=60)
            assert (await watching.fine("bans"))["bans"][0]["address"] == "127.0.0.2"
            async with running.client():
                pass  # another address is not affected
            running.clock.advance(61)
            async with running.client(**other) as back:
                assert (await back.fine("whoami"))["address"] == "127.0.0.2"
            for _ in range(5):
                await status(running, wrong, **other)
            await watching.fine("ban_remove", address="127.0.0.2")
            async with running.client(**other):
                pass
            await watching.refused("not_found", "ban_remove", address="127.0.0.2")


async def test_root_from_elsewhere_may_be_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path, disable_remote_root=True) as running:
        async with running.client():
            pass
        monkeypatch.setattr(door, "_local", lambda call: False)
        code, body, _ = await status(running, ["SMP1.0", "root", running.password])
        assert (code, body["error"]) == (401, "unauthorized")


async def test_too_many_connections(tmp_path: Path) -> None:
    async with agent(tmp_path, most_per_user=2) as running, running.client(), running.client():
        code, body, headers = await status(running, ["SMP1.0", "root", running.password])
        assert (code, body["error"], headers["Retry-After"]) == (503, "limit_exceeded", "10")


async def test_nothing_of_the_credentials_is_said(tmp_path: Path) -> None:
    secrets = ["Qx7-secret-word-1", WRONG]
    async with agent(tmp_path) as running:
        secrets.append(running.password)
        for name, password in (("someone", WRONG), ("root", secrets[0])):
            _, body, headers = await status(running, ["SMP1.0", name, password])
            assert not any(secret in json.dumps(body) + str(headers) for secret in secrets)
        async with running.client() as root:
            made = await root.fine("user_create", username="eve", password=secrets[0])
            assert made["password"] == secrets[0]  # to who makes it, this once
            entries = (await root.fine("audit_log", action="user_create"))["entries"]
            assert entries[0]["parameters"] == {"username": "eve", "password": "***"}
            said = json.dumps([frame for frame in root.frames if frame.get("action") != "user_create"])
        assert not any(secret in running.log() + said for secret in secrets)
        assert "login refused" in running.log()


async def test_the_password_file_is_made_once_and_serves_a_lost_store(tmp_path: Path) -> None:
    async with agent(tmp_path) as running:
        first = running.password
    async with agent(tmp_path) as running:
        assert running.password == first
    _lose_store(tmp_path)
    async with agent(tmp_path) as running:
        assert running.password == first
        async with running.client() as root:
            await root.fine("ping")


def _lose_store(home: Path) -> None:
    for file in home.glob("treadle.db*"):
        file.unlink()

"""An agent server that follows a script: what a test wants it to say, in the frames of the document, over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve

SECONDS = 20.0
ACCEPTED = {"type": "heartbeat", "status": "ok", "timestamp": "2026-01-05T09:00:00.1+00:00", "response_id": "c7"}

NULLS: dict[str, Any] = dict.fromkeys(
    ("user_request", "agent_name", "process_name", "root_name", "actions", "messages", "error", "session_id",
     "task_name", "timestamp", "response_id", "result")
)  # fmt: skip


class Peer:
    """One client's connection, from the server's side."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.path = socket.request.path if socket.request is not None else ""
        self.ended = asyncio.Event()

    async def heard(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of this type; heartbeats are passed over."""
        async with asyncio.timeout(SECONDS):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if frame["type"] != "heartbeat" or kind == "heartbeat":
                    assert kind in (None, frame["type"]), frame
                    return frame

    async def say(self, **frame: Any) -> None:
        """A frame, with a null for everything else, as the stock server sends it."""
        await self.socket.send(json.dumps({**NULLS, **frame}))

    async def accept(self) -> dict[str, Any]:
        """Let a client register."""
        frame = await self.heard("register")
        await self.say(**ACCEPTED)
        return frame

    async def command(self, response_id: str, *calls: tuple[str, dict[str, Any]], session: str = "s-1") -> None:
        """A COMMAND of these calls; their call ids are c-0, c-1, …"""
        actions = [
            {"tool_name": name, "tool_type": "action", "parameters": args, "call_id": f"c-{number}"}
            for number, (name, args) in enumerate(calls)
        ]
        await self.say(
            type="command", status="continue", agent_name="LinuxAgent", process_name="", root_name="",
            session_id=session, task_name="t", response_id=response_id, actions=actions,
        )  # fmt: skip

    async def results(self, response_id: str) -> list[dict[str, Any]]:
        """The results of a command."""
        frame = await self.heard("command_results")
        assert frame["prev_response_id"] == response_id
        results: list[dict[str, Any]] = frame["action_results"]
        return results

    async def cut(self) -> None:
        """Lose the connection without a word."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def closed(self) -> int | None:
        """Wait until the client has left; its close code."""
        async with asyncio.timeout(SECONDS):
            await self.socket.wait_closed()
        return self.socket.close_code


class Scripted:
    """The server; clients come one after another."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[Peer] = asyncio.Queue()
        self._peers: list[Peer] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def client(self) -> Peer:
        """The next client that connects."""
        async with asyncio.timeout(SECONDS):
            return await self._came.get()

    async def device(self) -> Peer:
        """The next client, registered."""
        peer = await self.client()
        await peer.accept()
        return peer

    async def handle(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        self._peers.append(peer)
        self._came.put_nowait(peer)
        await peer.ended.wait()

    def end(self) -> None:
        for peer in self._peers:
            peer.ended.set()


@asynccontextmanager
async def scripted(port: int = 0, **more: Any) -> AsyncIterator[Scripted]:
    """A scripted server on a free port, or on this one."""
    script = Scripted()
    server: Server
    async with serve(script.handle, "127.0.0.1", port, max_size=100 * 1024 * 1024, **more) as server:
        script.port = next(iter(server.sockets)).getsockname()[1]
        try:
            yield script
        finally:
            script.end()


def said(results: Sequence[dict[str, Any]], number: int = 0) -> Any:
    """What a tool that ran said."""
    assert results[number]["status"] == "success", results
    return results[number]["result"]

"""What the load generator asks of a server over the TaskDriver API: creating, and claiming and completing."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bench import load

NO_TASK = b'"success":false'


async def create(port: int, token: str, project: str, type: str, clients: int, count: int) -> load.Result:
    """`count` single creates by keep-alive clients."""
    body = json.dumps({"typeId": type, "variables": {"a": "x" * 300}}).encode()
    asked = _request(port, token, f"/api/projects/{project}/tasks", body)
    return await load.run("127.0.0.1", port, clients, count, lambda connection: asked)


async def bulk(port: int, token: str, project: str, type: str, count: int) -> load.Result:
    """`count` bulk creates of 1,000 tasks, one after another."""
    tasks = [{"typeId": type, "variables": {"a": str(number)}} for number in range(1000)]
    asked = _request(port, token, f"/api/projects/{project}/tasks/bulk", json.dumps({"tasks": tasks}).encode())
    return await load.run("127.0.0.1", port, 1, count, lambda connection: asked)


async def cycles(port: int, tokens: list[str], project: str, count: int) -> load.Result:
    """`count` cycles of claim and complete, one keep-alive worker a token."""
    claim = json.dumps({"projectId": project}).encode()
    claims = [_request(port, token, f"/api/agents/w{n}/next-task", claim) for n, token in enumerate(tokens)]
    done = json.dumps({"result": "ok"}).encode()

    def complete(connection: int, status: int, body: bytes) -> bytes | None:
        if body.startswith(b'{"success":true') and b'"agentName"' in body[:4000] and b'"status":"running"' in body:
            task = json.loads(body)["data"]["id"]
            return _request(port, tokens[connection], f"/api/tasks/{task}/complete", done)
        if NO_TASK in body:
            raise load.LoadError("the queue was empty before the run was over")
        return None

    return await load.run("127.0.0.1", port, len(tokens), count, claims.__getitem__, complete)


async def waiting(port: int, token: str, worker: str, project: str, type: str, count: int) -> list[float]:
    """Seconds from the answer to a create until a worker that was already waiting has the task, `count` times.

    The worker polls long (`?wait=30`) on a connection of its own; each task is completed before the next is made.
    """
    asker = await _Talk.open(port, token)
    taker = await _Talk.open(port, worker)
    delays = []
    for number in range(count):
        waits = asyncio.ensure_future(taker.post("/api/agents/waiter/next-task?wait=30", {"projectId": project}))
        # The claim is under way before the task exists: the server has answered a request sent after it.
        await asyncio.sleep(0.01)
        await asker.post(f"/api/projects/{project}/tasks", {"typeId": type, "variables": {"a": str(number)}})
        created = time.perf_counter()
        taken = await waits
        delays.append(max(0.0, time.perf_counter() - created))
        await taker.post(f"/api/tasks/{taken['data']['id']}/complete", {"result": "ok"})
    return delays


async def results(port: int, fabric: int, token: str, project: str, type: str, count: int) -> list[float]:
    """Seconds from the answer to a completion until a caller that waits for the task's end has it, `count` times."""
    worker = await _Talk.open(port, token)
    waiter = await _Talk.open(fabric, "")
    delays = []
    for number in range(count):
        await worker.post(f"/api/projects/{project}/tasks", {"typeId": type, "variables": {"a": str(number)}})
        task = (await worker.post("/api/agents/asker/next-task", {"projectId": project}))["data"]["id"]
        waits = asyncio.ensure_future(waiter.get(f"/api/queue/tasks/{task}?wait=30"))
        await asyncio.sleep(0.01)  # as above
        await worker.post(f"/api/tasks/{task}/complete", {"result": "ok"})
        completed = time.perf_counter()
        await waits
        delays.append(max(0.0, time.perf_counter() - completed))
    return delays


class _Talk:
    """One keep-alive connection on which one request at a time is sent and answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, token: str) -> None:
        self._reader, self._writer, self._port, self._token = reader, writer, port, token

    @classmethod
    async def open(cls, port: int, token: str) -> _Talk:
        return cls(*await asyncio.open_connection("127.0.0.1", port), port, token)

    async def post(self, path: str, body: object) -> Any:
        return await self._ask(_request(self._port, self._token, path, json.dumps(body).encode()))

    async def get(self, path: str) -> Any:
        return await self._ask(load.request("GET", path, f"127.0.0.1:{self._port}"))

    async def _ask(self, request: bytes) -> Any:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return json.loads(await self._reader.readexactly(length))


def _request(port: int, token: str, path: str, body: bytes) -> bytes:
    return load.request("POST", path, f"127.0.0.1:{port}", body, {"Authorization": f"Bearer {token}"})

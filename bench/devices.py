"""One round of the measurements of devices: how the HTTP API answers while hundreds of them are connected, how soon a
dispatch has its result, and what a connected device costs.

The devices are one process beside the load; each behaves as a stock client does (echo, one command after another).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import count as counting
from multiprocessing import get_context
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench import load
from bench.server import Server, treadle

Figures = dict[str, Any]
CLIENTS = 16
SECONDS = 3.0
AT_ONCE = 50
REQUEST = "run: true"
"""Two commands: what tools there are, and the command."""
TOOL = "execute_command"
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
TOOLS = [{"tool_key": f"action::{TOOL}", "tool_name": TOOL, "tool_type": "action", "input_schema": SCHEMA}]
DONE = {"success": True, "exit_code": 0, "stdout": "", "stderr": ""}


def idle(devices: int) -> Figures:
    """Requests a second and p99 (ms) under so many devices, sessions a second, and kilobytes of memory each."""
    with treadle() as server:
        return load.apart(_idle, server, devices)


def paced(devices: int, rate: int, seconds: float) -> Figures:
    """Dispatches at a fixed rate: how long health takes meanwhile (p99 and the longest, ms), and whether all end.

    Health is asked by a process of its own: the one with the devices is busy.
    """
    with treadle() as server, ProcessPoolExecutor(1, get_context("spawn"), load.pin, (1,)) as others:
        watching = others.submit(load.drive, watched, port_of(server), devices, seconds)
        used = server.cpu_seconds()
        figures = load.apart(_paced, server, devices, rate, seconds)
        used = server.cpu_seconds() - used
        seen = sorted(watching.result())
    return figures | {
        "health_p99_ms": seen[int(len(seen) * 0.99)] * 1000,
        "health_max_ms": seen[-1] * 1000,
        "cpu_ms_per_dispatch": used * 1000 / figures["dispatched"],
    }


def latency(times: int) -> Figures:
    """Milliseconds from the request for a dispatch until a caller that waits has its result."""
    with treadle() as server:
        return load.apart(_latency, server, times)


async def _idle(server: Server, devices: int) -> Figures:
    port, before = port_of(server), server.memory_mb()
    async with connected(port, devices) as ids:
        figures: Figures = {"kb_per_device": (server.memory_mb() - before) * 1000 / devices}
        for name in ("health", "clients"):
            asked = load.request("GET", f"/api/{name}", f"127.0.0.1:{port}")
            took = await load.run("127.0.0.1", port, CLIENTS, SECONDS, lambda _, asked=asked: asked)
            figures |= {f"{name}_per_s": took.per_second, f"{name}_p99_ms": took.p99 * 1000, "errors": took.errors}
        number = counting()
        began = time.perf_counter()
        took = await load.run(
            "127.0.0.1", port, CLIENTS, 4 * devices, lambda _: dispatch(port, ids[(n := next(number)) % devices], n)
        )
        figures |= {"dispatch_per_s": took.per_second, "dispatch_p99_ms": took.p99 * 1000}
        await all_done(port, 4 * devices)
        figures["sessions_per_s"] = 4 * devices / (time.perf_counter() - began)
        assert took.errors == 0, took
    return figures


async def _paced(server: Server, devices: int, rate: int, seconds: float) -> Figures:
    port = port_of(server)
    async with connected(port, devices) as ids:
        number = counting()
        total = int(rate * seconds)
        late = await at_rate(port, ids, number, total, rate)
        await all_done(port, total)
    return {"dispatched": total, "late_s": late}


async def _latency(server: Server, times: int) -> Figures:
    port = port_of(server)
    async with connected(port, 1) as [id]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        taken = []
        for number in range(times):
            began = time.perf_counter()
            await ask(reader, writer, dispatch(port, id, number))
            told = await ask(reader, writer, result(port, number, 30))
            taken.append((time.perf_counter() - began) * 1000)
            assert told["result"]["status"] == "completed", told
        writer.close()
    taken.sort()
    return {"p50_ms": taken[len(taken) // 2], "p99_ms": taken[int(len(taken) * 0.99)]}


def port_of(server: Server) -> int:
    return int(server.listeners["ufo"].rsplit(":", 1)[1])


def dispatch(port: int, client_id: str, number: int) -> bytes:
    body = json.dumps({"client_id": client_id, "request": REQUEST, "task_name": f"n{number}"}).encode()
    return load.request("POST", "/api/dispatch", f"127.0.0.1:{port}", body)


def result(port: int, number: int, wait: float) -> bytes:
    return load.request("GET", f"/api/task_result/n{number}?wait={wait}", f"127.0.0.1:{port}")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Any:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return json.loads(await reader.readexactly(length))


async def all_done(port: int, total: int) -> None:
    """Returns when every task has ended well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(total):
        told = await ask(reader, writer, result(port, number, 60))
        assert told["status"] == "done", (number, told)
        assert told["result"]["status"] == "completed", told
    writer.close()


async def at_rate(port: int, ids: list[str], number: Any, total: int, rate: int) -> float:
    """Dispatches evenly; how many seconds the last one was late."""
    open_connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
    now = asyncio.get_running_loop().time
    began = now()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (n := next(number)) < total:
            await asyncio.sleep(max(0.0, began + n / rate - now()))
            await ask(reader, writer, dispatch(port, ids[n % len(ids)], n))
        writer.close()

    await asyncio.gather(*(one(*each) for each in open_connections))
    return max(0.0, now() - began - total / rate)


async def watched(port: int, devices: int, seconds: float) -> list[float]:
    """Seconds that health took, asked every ten milliseconds for so many seconds, once all devices are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = load.request("GET", "/api/health", f"127.0.0.1:{port}")
    while len((await ask(reader, writer, asked))["online_clients"]) < devices:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    taken = []
    now = time.perf_counter
    over = now() + seconds
    while (began := now()) < over:
        await ask(reader, writer, asked)
        taken.append(now() - began)
        await asyncio.sleep(0.01)
    writer.close()
    return taken


@asynccontextmanager
async def connected(port: int, devices: int) -> AsyncIterator[list[str]]:
    """So many devices, all of them registered."""
    ids = [f"device-{number}" for number in range(devices)]
    opened: list[ClientConnection] = []
    for start in range(0, devices, AT_ONCE):
        opened += await asyncio.gather(*(registered(port, id) for id in ids[start : start + AT_ONCE]))
    serving = [asyncio.create_task(serve(socket, id)) for socket, id in zip(opened, ids, strict=True)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = load.request("GET", "/api/clients", f"127.0.0.1:{port}")
    while True:  # the verdict comes before a device is shown
        shown = len((await ask(reader, writer, asked))["online_clients"])
        if shown == devices:
            break
        await asyncio.sleep(0.01)
    writer.close()
    try:
        yield ids
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in opened))


async def registered(port: int, id: str) -> ClientConnection:
    socket = await connect(f"ws://127.0.0.1:{port}/ws", compression=None, proxy=None, close_timeout=1)
    info = {"device_id": id, "platform": "linux", "supported_features": ["cli"], "platform_type": "computer"}
    metadata = {"platform": "linux", "system_info": info}
    await socket.send(json.dumps({"type": "register", "status": "ok", "client_id": id, "metadata": metadata}))
    verdict = json.loads(await socket.recv())
    assert verdict["status"] == "ok", verdict
    return socket


async def serve(socket: ClientConnection, id: str) -> None:
    """What a stock device does, with tools that cost nothing."""
    async for text in socket:
        frame = json.loads(text)
        if frame["type"] == "task":
            said = {"type": "task", "status": "continue", "request": frame["user_request"]}
            await socket.send(json.dumps(said | {"task_name": frame["task_name"], "client_id": id}))
        elif frame["type"] == "command":
            results = [
                {"status": "success", "call_id": action["call_id"],
                 "result": TOOLS if action["tool_name"] == "list_tools" else DONE}
                for action in frame["actions"]
            ]  # fmt: skip
            said = {"type": "command_results", "status": frame["status"], "client_id": id}
            said |= {"session_id": frame["session_id"], "prev_response_id": frame["response_id"]}
            await socket.send(json.dumps(said | {"action_results": results}))

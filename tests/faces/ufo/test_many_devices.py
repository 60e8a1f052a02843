"""What a thousand idle devices cost a server that is a process of its own."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

DEVICES = 1000
WARM = 50
BYTES_EACH = 60_000
IDLE_SECONDS = 5.0
IDLE_SHARE = 0.02
"""Of one core, for all of them together, their pings included."""


@contextmanager
def open_files(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address and its process; it ends by itself when the block does."""
    command = [sys.executable, "-m", "tests.faces.ufo.aip_server", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip(), psutil.Process(process.pid)
        process.stdin.close()
        assert process.wait(30) == 0


async def device(address: str, id: str) -> ClientConnection:
    """A registered device that says nothing more; what it says of itself is as long as a stock device's."""
    socket = await connect(f"ws://{address}/ws", compression=None, proxy=None, ping_interval=None, open_timeout=30)
    info = {
        "device_id": id, "platform": "linux", "os_version": "6.1", "cpu_count": 8, "memory_total_gb": 15.5,
        "hostname": "lab3", "ip_address": "10.0.0.7", "supported_features": ["cli", "file_system"],
        "platform_type": "computer", "schema_version": "1.0", "custom_metadata": {},
    }  # fmt: skip
    metadata = {"platform": "linux", "registration_time": "2026-01-05T09:00:00+00:00", "system_info": info}
    frame = {"type": "register", "status": "ok", "client_type": "device", "client_id": id, "metadata": metadata}
    await socket.send(json.dumps(frame))
    assert json.loads(await socket.recv())["status"] == "ok"
    return socket


def spent(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


@pytest.mark.slow
async def test_a_thousand_idle_devices(tmp_path: Path) -> None:
    with (
        open_files(2 * DEVICES),
        serving(tmp_path) as (address, server),
    ):
        async with AsyncExitStack() as stack:

            async def come(first: int, count: int) -> None:
                for start in range(first, first + count, WARM):
                    ids = (f"d{n}" for n in range(start, start + WARM))
                    for socket in await asyncio.gather(*(device(address, id) for id in ids)):
                        stack.push_async_callback(socket.close)

            await come(0, WARM)
            before = server.memory_info().rss
            await come(WARM, DEVICES)
            each = (server.memory_info().rss - before) / DEVICES
            idle = spent(server)
            await asyncio.sleep(IDLE_SECONDS)  # it is this time that is measured
            idle = spent(server) - idle
    assert each <= BYTES_EACH
    assert idle <= IDLE_SECONDS * IDLE_SHARE

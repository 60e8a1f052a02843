"""How many connections there may be, and what happens when there are more."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from treadle.web.descriptors import raise_open_files

FULL = """
import asyncio, os, resource, socket, sys, time
import uvloop
from tests.web.asking import app_of, things
from tests.web.wire import face, listening

async def main():
    async with listening(face(app_of(things()))) as listeners:
        address = listeners.addresses["test"]
        clients = [socket.socket() for _ in range(60)]
        free = len(os.listdir("/proc/self/fd")) + 10
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for client in clients:
            client.connect((address.host, address.port))
        began = time.process_time()
        await asyncio.sleep(1)
        busy = time.process_time() - began
        for client in clients:
            client.close()
        while len(os.listdir("/proc/self/fd")) > free - 20:
            await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        print((await reader.read()).split()[1].decode(), round(busy, 2))
        writer.close()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
    loop.run(main())
"""


@pytest.fixture
def low_limit() -> Iterator[int]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (900, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_is_needed_and_allowed(low_limit: int) -> None:
    assert raise_open_files(1000) == 1000
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1000, low_limit)
    assert raise_open_files(950) == 1000  # never lowered
    most = low_limit if low_limit != resource.RLIM_INFINITY else 10**6
    assert raise_open_files(10**6) == min(most, 10**6)


@pytest.mark.slow
def test_a_full_table_of_files_costs_nothing_and_passes() -> None:
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    status, busy = done.stdout.split()
    assert status == "200"
    assert float(busy) < 0.3

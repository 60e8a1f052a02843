"""Two processes on one NATS server: a node's answers reach the other process, and a killed one is gone at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.own_nats import own_nats
from treadle.adapters.bus.opening import open_bus
from treadle.core.errors import Unanswered, Unreachable
from treadle.core.ports import Bus

NODE = """
import asyncio, os, pathlib, sys
from treadle.adapters.bus.opening import open_bus

async def answer(subject, payload):
    return b"%d %s" % (os.getpid(), payload)

async def node(url, credentials):
    bus = await open_bus(url, name="n1", credentials=pathlib.Path(credentials))
    with bus.serve("node.n1", answer):
        print((await bus.request("desk.n1", b"hello", 10)).decode(), flush=True)
        await asyncio.Event().wait()

asyncio.run(node(*sys.argv[1:]))
"""


async def nobody_serves(bus: Bus, subject: str) -> bool:
    with pytest.raises(Unreachable) as refused:
        await bus.request(subject, b"", 0.1)
    return not isinstance(refused.value, Unanswered)


async def test_a_node_in_another_process(tmp_path: Path) -> None:
    with own_nats(tmp_path) as nats:
        key = nats.node("n1")
        bus = await open_bus(nats.url, name="server", credentials=nats.credentials)

        async def desk(subject: str, payload: bytes) -> bytes:
            return subject.encode() + b" heard " + payload

        with bus.serve("desk.>", desk):
            node = await asyncio.create_subprocess_exec(
                sys.executable, "-c", NODE, nats.url, key, stdout=subprocess.PIPE
            )
            assert node.stdout is not None
            assert await node.stdout.readline() == b"desk.n1 heard hello\n"
            assert await bus.request("node.n1", b"there?", 10) == b"%d there?" % node.pid
            node.kill()
            await node.communicate()
            async with asyncio.timeout(10):
                while not await nobody_serves(bus, "node.n1"):
                    pass  # until the server has seen its end, which takes milliseconds
        await bus.close()
        assert nats.reports == []

"""The buses under test: in one process, over NATS on one connection, and between two; on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from treadle.adapters.bus.nats import NatsBus
from treadle.adapters.bus.nats_server import NatsServer
from treadle.adapters.bus.opening import open_bus
from treadle.core.ports import Bus

ON_BOTH_LOOPS = ("test_bus", "test_nats")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in ON_BOTH_LOOPS:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Reports:
    """What a bus reported; `said` waits for it."""

    texts: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, text: str, error: BaseException | None) -> None:
        self.texts.append(text)
        if error is not None:
            self.errors.append(error)
        self._more.set()

    async def said(self, words: str) -> None:
        while not any(words in text for text in self.texts):
            self._more.clear()
            await self._more.wait()


@dataclass
class Two:
    """Two ends of one bus: `here` somebody listens and serves, `there` somebody says and asks. It may be one object."""

    here: Bus
    there: Bus
    reports: Reports

    async def settled(self) -> None:
        """Returns when what is listened to and served here is known there."""
        if isinstance(self.here, NatsBus):
            await self.here.settled()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def server(tmp_path: Path, reports: Reports) -> AsyncIterator[NatsServer]:
    """A NATS server of this test's own."""
    server = NatsServer(tmp_path / "nats", report=reports)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["local", "nats", "two connections"])
async def two(request: pytest.FixtureRequest, tmp_path: Path, reports: Reports) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        url, credentials = "local:", None
        if request.param != "local":
            server = NatsServer(tmp_path / "nats", report=reports)
            await server.start()
            stack.push_async_callback(server.stop)
            url, credentials = server.url, server.credentials
        here = there = await open_bus(url, name="here", report=reports, credentials=credentials)
        stack.push_async_callback(here.close)
        if request.param == "two connections":
            there = await open_bus(url, name="there", report=reports, credentials=credentials)
            stack.push_async_callback(there.close)
        yield Two(here, there, reports)

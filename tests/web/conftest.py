"""The tests that go over a wire run on uvloop, as the server does, and on the standard loop besides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

OVER_A_WIRE = ("test_server", "test_listen", "test_sockets", "test_socket_life", "test_tls")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in OVER_A_WIRE:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}

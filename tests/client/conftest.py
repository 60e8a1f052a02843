"""One server for all tests of the client, each test with a project of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faces.fabric.serving import KEY, Served, served
from treadle.client import Client


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("client")) as running:
        yield running


@pytest.fixture
async def client(server: Served) -> AsyncIterator[Client]:
    async with Client(server.url, KEY) as client:
        yield client


_numbers = itertools.count(1)


@pytest.fixture
async def project(client: Client) -> str:
    """The name of a new project."""
    return (await client.create_project(f"c{next(_numbers)}")).name

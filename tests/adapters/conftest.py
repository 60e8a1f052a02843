"""The stores under test: each test of the suite runs on SQLite and on PostgreSQL, in a file or a schema of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.adapters.replica import Replica
from tests.adapters.servers import CannotStart, OwnPostgres
from tests.core.stage import HandClock
from treadle.adapters.store.postgres import open_postgres
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.ports import Store

OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[OwnPostgres]:
    """A server that this process of tests has to itself, and may stop."""
    try:
        server = OwnPostgres()
    except CannotStart as error:
        if "postgres" in os.environ.get("TREADLE_TEST_REQUIRE", "").split(","):
            pytest.fail(f"PostgreSQL does not start and TREADLE_TEST_REQUIRE asks for it: {error}", pytrace=False)
        pytest.skip("needs postgres")
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A server to test on: the one of TREADLE_TEST_POSTGRES, else our own."""
    given = os.environ.get("TREADLE_TEST_POSTGRES")
    if given:
        return given
    server: OwnPostgres = request.getfixturevalue("own_postgres")
    return server.url


@pytest.fixture
def schema(postgres_url: str) -> Iterator[str]:
    """The name of a schema that is not there yet; it is also what the store's connections call themselves."""
    name = f"treadle_{secrets.token_hex(6)}"
    yield name
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@pytest.fixture
def fresh_url(postgres_url: str, schema: str) -> str:
    """The URL of an empty schema."""
    return in_schema(postgres_url, schema)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens a store; on PostgreSQL once more for each replica of the same truth. Closes them at the end."""
    opened: list[Store] = []
    url: str | None = request.getfixturevalue("fresh_url") if request.param == "postgres" else None

    async def another() -> Store:
        store: Store = await (open_postgres(url) if url else open_sqlite(tmp_path / "treadle.db"))
        opened.append(store)
        return store

    yield another
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


@pytest.fixture
def replica(store: Store) -> Replica:
    return Replica(store)


@pytest.fixture
async def replicas(fresh_url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two processes' worth of Treadle on one PostgreSQL."""
    clock = HandClock()
    stores = [await open_postgres(fresh_url), await open_postgres(fresh_url)]
    yield Replica(stores[0], clock), Replica(stores[1], clock)
    for store in stores:
        await store.close()


def in_schema(url: str, name: str) -> str:
    """The URL with that schema for everything, under which the connections also take its name."""
    return f"{url}{'&' if '?' in url else '?'}application_name={name}&options={quote(f'-csearch_path={name}')}"

"""Opening a PostgreSQL: by which URLs, what is refused and how clearly, and that no password is ever shown."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import traceback
from collections.abc import Iterator

import psycopg
import pytest

from tests.adapters.conftest import in_schema
from tests.adapters.replica import Replica
from tests.adapters.servers import OwnPostgres
from treadle.adapters.store.postgres import open_postgres
from treadle.adapters.store.postgres.address import Address
from treadle.core.errors import Invalid, StoreReadOnly, StoreUnavailable
from treadle.core.submitting import NewTask

pytestmark = pytest.mark.needs("postgres")
SECRET = "s3cr3t-Pa55word"


@pytest.fixture
def role(own_postgres: OwnPostgres) -> Iterator[str]:
    """A user who may read everything and write nothing."""
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data")
        yield "reader"
        admin.execute("DROP OWNED BY reader; DROP ROLE reader")


def other_database(server: OwnPostgres, name: str) -> str:
    return f"{server.tcp_url.rpartition('/')[0]}/{name}"


async def works(url: str) -> None:
    store = await open_postgres(url)
    try:
        replica = Replica(store)
        looms = await replica.project()
        await replica.submit(looms)
        assert len(await replica.claim(looms)) == 1
    finally:
        await store.close()


async def test_a_unix_socket_and_tcp_both_do(own_postgres: OwnPostgres, schema: str) -> None:
    await works(in_schema(own_postgres.url, schema))
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {schema} CASCADE".encode())
    await works(in_schema(own_postgres.tcp_url.replace("postgres@", f"postgres:{SECRET}@"), schema))


async def test_without_a_schema_the_tables_lie_in_public(own_postgres: OwnPostgres) -> None:
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE plain")
        url = other_database(own_postgres, "plain")
        await works(url)
        with psycopg.connect(url) as plain:
            assert plain.execute("SELECT count(*) FROM public.tasks").fetchone() == (1,)
        admin.execute("DROP DATABASE plain WITH (FORCE)")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/treadle",
        f"postgresql://ann:{SECRET}@127.0.0.1:port/treadle",
        f"postgresql://ann:{SECRET}@/treadle?host=/nowhere/at/all",
        f"postgresql://ann:{SECRET}/oops@localhost/treadle",
        f"postgresql://ann:12/{SECRET}@localhost/treadle",
        f"postgresql://ann:half@{SECRET}@localhost/treadle",
        f"postgresql://ann:{SECRET}@[::1/treadle",
        f"postgresql://ann:{SECRET}@localhost/treadle?nonsense=1",
        f"host=127.0.0.1 port=1 password={SECRET} connect_timeout=soon",
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreUnavailable, match=r"cannot be (reached|read)") as refused:
        await open_postgres(url)
    told = "".join(traceback.format_exception(refused.value)) + caplog.text + str(capfd.readouterr())
    assert SECRET not in told
    assert "\n" not in refused.value.message


async def test_a_wrong_password_is_not_repeated(own_postgres: OwnPostgres) -> None:
    address = Address(own_postgres.tcp_url.replace("postgres@", f"nobody-of-this-name:{SECRET}@"))
    assert SECRET not in repr(address) + address.shown + address.hidden(f"bad {SECRET}\nhere")
    with pytest.raises(StoreUnavailable, match="nobody-of-this-name") as refused:
        address.connect()
    assert SECRET not in refused.value.message


async def test_tables_of_another_program_are_left_alone(own_postgres: OwnPostgres, schema: str) -> None:
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.tasks (mine integer)".encode())
        with pytest.raises(StoreUnavailable, match=r"another program.*tasks"):
            await open_postgres(in_schema(own_postgres.url, schema))
        tables = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        assert tables == [("tasks",)]


async def test_an_encoding_that_cannot_hold_all_text_is_refused(own_postgres: OwnPostgres) -> None:
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with pytest.raises(StoreUnavailable, match="LATIN1; its encoding must be UTF8"):
            await open_postgres(other_database(own_postgres, "narrow"))
        admin.execute("DROP DATABASE narrow")


async def test_a_store_that_may_only_be_read_says_so(own_postgres: OwnPostgres, schema: str, role: str) -> None:
    url = in_schema(own_postgres.tcp_url, schema)
    store = await open_postgres(url)
    looms = await Replica(store).project()
    await store.close()
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
    read_only = url.replace("csearch_path", "cdefault_transaction_read_only%3Don%20-csearch_path")
    for reduced in (url.replace("postgres@", f"{role}@"), read_only):
        store = await open_postgres(reduced)
        replica = Replica(store)
        for _ in range(2):
            with pytest.raises(StoreReadOnly, match="nothing was changed"):
                await replica.submit(looms)
            with pytest.raises(StoreReadOnly):
                await replica.project("other")
        assert (await replica.fabric.projects.get("looms")).project == looms
        await store.close()


async def test_a_reader_cannot_make_the_tables(own_postgres: OwnPostgres, schema: str, role: str) -> None:
    with pytest.raises(StoreReadOnly):
        await open_postgres(in_schema(own_postgres.tcp_url.replace("postgres@", f"{role}@"), schema))


@pytest.mark.parametrize(
    ("new", "rule"),
    [(NewTask(instructions="a\x00b"), r"U\+0000"), (NewTask(batch=secrets.token_hex(8000)), "maximum size")],
)
async def test_what_postgresql_cannot_hold_is_refused_clearly(
    replicas: tuple[Replica, Replica], new: NewTask, rule: str
) -> None:
    replica, _ = replicas
    looms = await replica.project()
    refused, made = await asyncio.gather(replica.submit(looms, new), replica.submit(looms), return_exceptions=True)
    assert isinstance(refused, Invalid)
    assert re.search(rule, refused.message)
    assert isinstance(made, list)  # of the same ride
    assert (await replica.tally(looms)).total == 1

"""The schema's steps, taken at start by one replica while the others wait; and what a lane has to know of them."""

from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from treadle.adapters.store.queries import steps
from treadle.core.errors import StoreTooNew, StoreUnavailable

from . import locks
from .address import Address

PACKAGE = "treadle.adapters.store.postgres"


HISTORY = """
SELECT system_identifier || '/' || CASE WHEN pg_is_in_recovery() THEN '' ELSE
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END
FROM pg_control_system()
"""


class Ground(Struct, frozen=True):
    """The schema in which the store lies, what is added to every cursor (see the table `events`), and whose it is.

    `history` names the cluster and its timeline: where it is another one, another server has taken over.
    """

    schema: str
    base: int
    history: str


def upgrade(connection: psycopg.Connection[Any], address: Address) -> Ground:
    """Take the steps that this store has not taken yet, all of them or none. Raises StoreTooNew."""
    todo = steps(PACKAGE)
    try:
        with connection.transaction():
            schema = _schema(connection)
            connection.execute("SET LOCAL lock_timeout = 0")  # a step, or another replica that takes it, may need long
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (locks.number(schema, "schema"),))
            version = _version(connection)
            if version > len(todo):
                raise StoreTooNew
            for step in todo[version:]:
                connection.execute(step.encode())
            if version < len(todo):
                connection.execute("UPDATE treadle SET version = %s", (len(todo),))
    except psycopg.errors.DuplicateTable as error:
        raise StoreUnavailable(
            f"The store {address.shown} holds tables of another program ({error.diag.message_primary}); give Treadle a "
            "schema of its own: add ?options=-csearch_path%3Dtreadle to the URL"
        ) from None
    except psycopg.Error as error:
        raise address.plain(error) from None
    return ground(connection, address)


def ground(connection: psycopg.Connection[Any], address: Address) -> Ground:
    """What a lane needs to know; raises StoreTooNew where a newer Treadle has been here since."""
    try:
        with connection.transaction():
            schema = _schema(connection)
            if _version(connection) > len(steps(PACKAGE)):
                raise StoreTooNew
            return Ground(schema, _base(connection), str(_one(connection, HISTORY)[0]))
    except psycopg.Error as error:
        raise address.plain(error) from None


def _schema(connection: psycopg.Connection[Any]) -> str:
    """The schema the URL names (its search_path), made if it is not there; else `public`."""
    name, path = _one(connection, "SELECT current_schema(), current_setting('search_path')")
    if name is None:
        name = path.split(",")[0].strip().strip('"')
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    return str(name)


def _version(connection: psycopg.Connection[Any]) -> int:
    if _one(connection, "SELECT to_regclass('treadle')") == (None,):
        return 0
    return int(_one(connection, "SELECT version FROM treadle")[0])


def _base(connection: psycopg.Connection[Any]) -> int:
    """What is added to every cursor; raised where the log comes from a cluster that was further on."""
    ahead = _one(
        connection,
        "SELECT base, coalesce((SELECT max(seq) FROM events), 0) - base"
        " - (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20) FROM treadle",
    )
    base, behind = int(ahead[0]), int(ahead[1])
    if behind < 0:
        return base
    connection.execute("UPDATE treadle SET base = %s WHERE base = %s", (base + behind + (1 << 20), base))
    return int(_one(connection, "SELECT base FROM treadle")[0])


def _one(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)

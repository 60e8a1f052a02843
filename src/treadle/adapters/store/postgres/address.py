"""Where the server is: the URL with its secret, the name we show for it, and how a connection is opened there."""

from typing import Any

import psycopg
from psycopg import conninfo

from treadle.core.errors import FabricError, StoreUnavailable

from .troubles import plain

OLDEST = 13
"""The first PostgreSQL with 64-bit transaction numbers (pg_current_xact_id)."""

DEFAULTS: dict[str, str] = {
    "application_name": "treadle",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""A peer that vanished is noticed within half a minute; the URL may say otherwise."""

SESSION = """
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET lock_timeout = '10s';
SET statement_timeout = '50s';
SET idle_in_transaction_session_timeout = '15s';
DO $$ BEGIN  -- a statement of a client that is gone ends soon; not every server can
    SET client_connection_check_interval = '5s';
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""
"""Every statement is meant to walk an index in its order, whatever the statistics say at the moment; acknowledged means
synced; nothing runs longer than we listen (SILENCE_SECONDS); and a replica that is paused in a transaction does not
keep the others waiting for long."""


UNREADABLE = (
    "The store's URL cannot be read; it looks like postgresql://user:password@host:5432/name, with special characters "
    "in the password percent-encoded"
)


class Address:
    """A PostgreSQL URL. Its password is in no message and no representation."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.Error:  # libpq repeats the part it cannot read, which may be the password
            raise StoreUnavailable(UNREADABLE) from None
        host, port, name = (str(parts.get(part) or "") for part in ("host", "port", "dbname"))
        # A password with an @ or a / in it spills over into the parts that follow it, and those we show.
        if "@" in host + name or (port and not port.replace(",", "").isdecimal()):
            raise StoreUnavailable(UNREADABLE)
        self._parts = {**DEFAULTS, **parts}
        self._password = str(parts.get("password") or "")
        self.shown = f"postgresql://{host or 'localhost'}{port and ':'}{port}/{name}"

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection, ready for our statements. Raises StoreUnavailable."""
        try:
            connection = psycopg.connect(conninfo.make_conninfo("", **self._parts), autocommit=True)
        except (psycopg.Error, ValueError) as error:
            raise StoreUnavailable(f"The store {self.shown} cannot be reached: {self.hidden(str(error))}") from None
        try:
            self._check(connection)
            connection.execute(SESSION)
        except psycopg.Error as error:
            connection.close()
            raise self.plain(error) from None
        except FabricError:
            connection.close()
            raise
        return connection

    def plain(self, error: psycopg.Error) -> FabricError:
        """What psycopg complains of, in our words."""
        return plain(error.sqlstate, self.hidden(error.diag.message_primary or str(error)), self.shown)

    def hidden(self, text: str) -> str:
        """The text on one line, without the password."""
        line = " ".join(text.split())
        return line.replace(self._password, "***") if self._password else line

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        version = connection.info.server_version
        if version < OLDEST * 10_000:
            raise StoreUnavailable(
                f"The store {self.shown} is PostgreSQL {version // 10_000}; {OLDEST} or newer is needed"
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreUnavailable(f"The store {self.shown} holds text as {encoding}; its encoding must be UTF8")

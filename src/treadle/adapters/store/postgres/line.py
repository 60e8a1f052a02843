"""A line is one connection, spoken to in bursts: what is told waits until something is asked, then all goes at once.

A round trip costs more than most statements, so only questions pay for one. It works on libpq's pipeline mode through
`psycopg.pq` and leaves out psycopg's cursors, which cost several times what these statements do. A line belongs to one
thread.
"""

import select
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import adapt, pq
from psycopg.abc import Transformer
from psycopg.pq import abc

from treadle.core.errors import Fault, Invalid

from .troubles import DYING, Lost, Refusal

Scalar = str | int | bool | None
Value = Scalar | bytes | Sequence[Scalar]
Row = tuple[Any, ...]

SILENCE_SECONDS = 60
"""A server that has said nothing for so long is taken for lost."""

DONE = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class Line:
    """Speaks prepared statements over one connection; each is prepared when it is first used."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._pq = connection.pgconn
        self._poll = select.poll()
        self._names: dict[str, bytes] = {}
        self._named = 0
        self._readers: dict[str, Transformer] = {}
        self._told: list[tuple[str, list[bytes | None]]] = []
        self.last_tag = b""
        self._pq.nonblocking = 1
        self._pq.enter_pipeline_mode()

    @property
    def idle(self) -> bool:
        """Whether no transaction is open on the server."""
        return self._pq.transaction_status == pq.TransactionStatus.IDLE

    def tell(self, sql: str, *values: Value) -> None:
        """Have a statement run before the next question; if it fails, the next question raises."""
        self._told.append((sql, [wired(value) for value in values]))

    def ask(self, sql: str, *values: Value) -> list[Row]:
        """Run everything told, then this; its rows."""
        self.tell(sql, *values)
        return self.ask_told(1)[0]

    def ask_told(self, last: int) -> list[list[Row]]:
        """Run everything told; the rows of each of the last so many statements.

        Raises Refusal when one of them failed (those after it did not run) and Lost when the connection broke.
        """
        told, self._told = self._told, []
        try:
            results = self._exchange(told)
        except psycopg.Error as error:
            raise Lost(str(error)) from None
        self.last_tag = (results[-1].command_status or b"") if results else b""
        return [self._rows(sql, result) for (sql, _), result in zip(told[-last:], results[-last:], strict=True)]

    def forget_told(self) -> None:
        """Drop what was told and not yet sent."""
        self._told.clear()

    def close(self) -> None:
        """Hang up; the server rolls back what was open. Safe to call twice."""
        self._connection.close()

    def _exchange(self, told: Sequence[tuple[str, list[bytes | None]]]) -> list[abc.PGresult]:
        """Send the statements and a synchronisation point, and take the results: one for each statement."""
        fresh: list[str] = []
        told_places = []
        place = 0
        for sql, values in told:
            name = self._names.get(sql)
            if name is None:
                name = self._names[sql] = b"s%d" % self._named
                self._named += 1
                self._pq.send_prepare(name, sql.encode())
                fresh.append(sql)
                place += 1
            self._pq.send_query_prepared(name, values, None, pq.Format.BINARY)
            told_places.append(place)
            place += 1
        self._pq.pipeline_sync()
        results = self._hear()
        refused = next((result for result in results if result.status not in DONE), None)
        if refused is not None:
            for sql in fresh:  # what came after the failure was never prepared; whatever was, is prepared anew
                del self._names[sql]
            raise self._trouble(refused)
        return [results[place] for place in told_places] if fresh else results

    def _hear(self) -> list[abc.PGresult]:
        """All results up to the synchronisation point."""
        results: list[abc.PGresult] = []
        ends = 0
        while True:
            while self._pq.is_busy():
                self._wait()
            result = self._pq.get_result()
            if result is None:  # the end of one statement's results; endless ones mean that nothing more will come
                ends += 1
                if ends > 1 and self._pq.status == pq.ConnStatus.BAD:
                    raise self._trouble(results[-1]) if results else Lost("the connection broke")
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            else:
                ends = 0
                results.append(result)

    def _wait(self) -> None:
        # libpq's own wait holds the interpreter lock; poll() lets the other threads run.
        unsent = self._pq.flush()
        self._poll.register(self._pq.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        if not self._poll.poll(SILENCE_SECONDS * 1000):
            raise Lost(f"the server has said nothing for {SILENCE_SECONDS} seconds")
        self._pq.consume_input()

    def _trouble(self, result: abc.PGresult) -> Lost | Refusal:
        field = pq.DiagnosticField
        sqlstate = (result.error_field(field.SQLSTATE) or b"").decode()
        said = (result.error_field(field.MESSAGE_PRIMARY) or result.error_message).decode(errors="replace").strip()
        if not sqlstate or sqlstate.startswith("08") or sqlstate in DYING or self._pq.status == pq.ConnStatus.BAD:
            return Lost(said)
        return Refusal(sqlstate, said)

    def _rows(self, sql: str, result: abc.PGresult) -> list[Row]:
        reader = self._readers.get(sql)
        if reader is None:
            reader = self._readers[sql] = adapt.Transformer(self._connection)
            reader.set_pgresult(result, format=pq.Format.BINARY)
        else:
            reader.set_pgresult(result, set_loaders=False)
        rows: list[Row] = reader.load_rows(0, result.ntuples, tuple)
        return rows


def wired(value: Value) -> bytes | None:
    """A value as the text format of the protocol has it; a sequence becomes an array."""
    if value is None:
        return None
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode()
    elif isinstance(value, int):
        data = b"%d" % value
    else:
        data = ("{" + ",".join([_element(element) for element in value]) + "}").encode()
    if b"\0" in data:
        raise Invalid(Fault("value", "must not contain the character U+0000; PostgreSQL cannot store it"))
    return data


def _element(element: Scalar) -> str:
    if element is None:
        return "NULL"
    if isinstance(element, str):
        if "\\" in element or '"' in element:
            element = element.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{element}"'
    return str(element)

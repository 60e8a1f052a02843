"""What can go wrong between us and the server, and what it is called in the core's words.

SQLSTATE classes are PostgreSQL's, appendix A of its documentation.
"""

from treadle.core.errors import (
    FabricError,
    Fault,
    Invalid,
    StoreCorrupt,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

OUTDATED = "22012"
"""Division by zero: how the server says that the catalogue is not what a lane remembers (queries/projects.sql)."""

CONFLICTS = frozenset({"40001", "40P01", "23505", "55P03", OUTDATED})
"""Serialization failure, deadlock, unique violation, lock timeout: somebody was in the way, so the verb runs again."""

DYING = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05"})
"""The server shuts down, crashed, starts up, or ended a connection that had been idle too long."""

BAD_VALUES = frozenset({"22", "54"})
"""The classes of values that are out of range or cannot be read, and of what is too long (an index entry, a row)."""

READ_ONLY = frozenset({"25006", "42501"})
"""A read-only transaction (a standby, `default_transaction_read_only`), or a missing privilege."""


class Lost(Exception):
    """The connection broke."""


class Refusal(Exception):
    """The server refused a statement; the transaction is spoilt and has to be rolled back."""

    def __init__(self, sqlstate: str, said: str) -> None:
        super().__init__(said)
        self.sqlstate, self.said = sqlstate, said

    @property
    def conflict(self) -> bool:
        return self.sqlstate in CONFLICTS


class Overtaken(Refusal):
    """Another replica did meanwhile what this transaction took for not done."""

    def __init__(self) -> None:
        super().__init__("40001", "another replica was faster")


class CatalogueNeeded(Exception):
    """A verb wants to change projects or types, and its transaction has only a shared lock of them."""


def plain(sqlstate: str | None, said: str, shown: str) -> FabricError:
    """What the server complains of, in our words; `shown` is its address without a password."""
    state = sqlstate or ""
    if state[:2] in BAD_VALUES:
        return Invalid(Fault("value", f"cannot be stored: {said}"))
    if state in ("53100", "58030"):
        return StoreFull(f"The disk of the store {shown} is full or failing; nothing was changed ({said})")
    if state in READ_ONLY:
        return StoreReadOnly(f"The store {shown} does not let us write; nothing was changed ({said})")
    if state in ("XX001", "XX002"):
        return StoreCorrupt(f"The store {shown} is damaged; restore it from a backup ({said})")
    if state in CONFLICTS:
        return StoreUnavailable(f"Others were in the way too often in the store {shown}; nothing was changed ({said})")
    return StoreUnavailable(f"The store {shown} cannot take this now: {said}")

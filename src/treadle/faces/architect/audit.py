"""What was done through this face: who, when, from where, what with, and how it ended (spec 5).

Entries are written together a few times a second, not each before its reply: a killed server may lack the last ones.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from treadle.core.clock import DAY, SECOND, Clock
from treadle.core.documents import Collection
from treadle.core.ids import Ids
from treadle.core.ports import Store, Tx

MASK = "***"
LONGEST = 200
"""Characters of a value that are kept."""
MOST_WAITING = 10_000
_SECRET = re.compile(r"pass|secret|token|key|auth|cred|cookie", re.IGNORECASE)
_DEEPEST, _WIDEST = 6, 50


class Entry(Struct, frozen=True, kw_only=True):
    """One action of somebody. `outcome` is `ok` or the word of an error; `date` is microseconds UTC."""

    date: int
    user: str
    session: str
    address: str
    action: str
    parameters: dict[str, Any]
    outcome: str

    @property
    def server(self) -> str | None:
        server = self.parameters.get("server")
        return server if isinstance(server, str) else None


audit = Collection("architect_audit", Entry)
"""Entries by instant and a random end, grouped by user."""


class Audit:
    """Writes entries and finds them again; they expire after so many days, as that is set when they are written."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, *, days: Callable[[], int]) -> None:
        self._store, self._clock, self._ids, self._days = store, clock, ids, days
        self._waiting: list[Entry] = []
        self._lost = 0

    def note(self, entry: Entry) -> None:
        """Takes an entry; what cannot be kept because nothing could be written for long is counted."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(entry)
        else:
            self._lost += 1

    async def write(self) -> int:
        """Writes what has gathered; how many entries were lost before."""
        waiting, self._waiting = self._waiting, []
        lost, self._lost = self._lost, 0
        if waiting:
            kept = self._days() * DAY
            keys = [key_of(entry.date, self._ids()) for entry in waiting]

            def verb(tx: Tx) -> None:
                for key, entry in zip(keys, waiting, strict=True):
                    audit.put(tx, key, entry, group=entry.user, expires=entry.date + kept)

            try:
                await self._store.write(verb)
            except BaseException:
                self._waiting = (waiting + self._waiting)[:MOST_WAITING]
                raise
        return lost

    async def page(
        self, *, user: str | None, after: str, until: int | None, limit: int, fits: Callable[[Entry], bool]
    ) -> tuple[list[Entry], str]:
        """Entries that fit, oldest first, from a cursor on; and the cursor to go on from, empty at the end."""
        await self.write()
        now, kept = self._clock(), self._days() * DAY

        def query(tx: Tx) -> tuple[list[Entry], str]:
            found: list[Entry] = []
            cursor = after
            while page := audit.page(tx, group=user, after=cursor, limit=500):
                for stored in page:
                    cursor, entry = stored.key, stored.value
                    if until is not None and entry.date >= until:
                        return found, ""
                    if entry.date + kept > now and fits(entry):
                        found.append(entry)
                        if len(found) == limit:
                            return found, cursor
            return found, ""

        return await self._store.read(query)


def key_of(date: int, end: str = "") -> str:
    """The key of an entry of an instant; without an end it stands before all entries of it."""
    return f"{date:020d}{'-' + end if end else ''}"


def masked(value: Any, depth: int = 0) -> Any:
    """Parameters as they may be kept: without what its name says is a secret, and not too long."""
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return "…"
        rows = list(value.items())[:_WIDEST]
        return {
            name[:LONGEST]: MASK if _SECRET.search(name) and item is not None else masked(item, depth + 1)
            for name, item in rows
        }
    if isinstance(value, list):
        return "…" if depth >= _DEEPEST else [masked(item, depth + 1) for item in value[:_WIDEST]]
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}… ({len(value)} characters)"
    return value


def seconds(date: int) -> float:
    """Microseconds UTC as UNIX seconds."""
    return date / SECOND

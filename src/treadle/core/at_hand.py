"""What is asked for at every request, kept in memory: dropped when a fact says it changed, and soon in any case.

Facts of this process arrive with their commit, so a change made here shows at once; a change made by another replica
shows after at most FRESH.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from .clock import SECOND, Clock
from .ports import Store, Tx

V = TypeVar("V")

FRESH = 1 * SECOND
LARGEST = 10_000


class AtHand(Generic[V]):
    """Things by key, read through from the store."""

    def __init__(self, store: Store, clock: Clock, read: Callable[[Tx, Sequence[str]], Mapping[str, V]]) -> None:
        self._store, self._clock, self._read = store, clock, read
        self._kept: dict[str, tuple[V, int]] = {}
        self._changes = 0

    async def get_many(self, keys: Iterable[str]) -> dict[str, V]:
        """The things that exist."""
        now = self._clock()
        found: dict[str, V] = {}
        lacking = []
        for key in keys:
            kept = self._kept.get(key)
            if kept is None or now - kept[1] > FRESH:
                lacking.append(key)
            else:
                found[key] = kept[0]
        if lacking:
            changes = self._changes
            read = await self._store.read(lambda tx: self._read(tx, lacking))
            found.update(read)
            if changes == self._changes:  # nothing was dropped while we read, so this is not older than the drop
                if len(self._kept) > LARGEST:
                    self._kept.clear()
                self._kept.update({key: (value, now) for key, value in read.items()})
        return found

    async def get(self, key: str) -> V | None:
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[1] <= FRESH:
            return kept[0]
        return (await self.get_many([key])).get(key)

    def drop(self, key: str) -> None:
        """Forget one thing; the next to ask reads it anew."""
        self._changes += 1
        self._kept.pop(key, None)

    def forget_all(self) -> None:
        """Forget everything."""
        self._changes += 1
        self._kept.clear()

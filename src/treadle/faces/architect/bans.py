"""Addresses that failed to log in too often are kept out for a while (spec 2.1); in memory, and bounded."""

import math
from collections.abc import Callable

from msgspec import Struct

from treadle.core.clock import SECOND
from treadle.web.rate import client_key

REMEMBERED = 50_000


class Ban(Struct, frozen=True):
    """Who is kept out, and until when (microseconds UTC)."""

    address: str
    until: int


class _Record(Struct):
    failures: list[int] = []
    until: int = 0


class Bans:
    """So many failures within a ban's length are a ban; an IPv6 neighbourhood is one address.

    `limits` gives how many, and the length of a ban in seconds, as they are set now.
    """

    def __init__(self, clock: Callable[[], int], limits: Callable[[], tuple[int, int]]) -> None:
        self._clock, self._limits = clock, limits
        self._records: dict[str, _Record] = {}  # in the order in which they were last touched

    def failed(self, address: str) -> bool:
        """One failure more; whether it led to a ban."""
        attempts, seconds = self._limits()
        key, now, length = client_key(address), self._clock(), seconds * SECOND
        record = self._records.pop(key, None) or _Record()
        record.failures = [at for at in record.failures if now - at < length] + [now]
        banned = len(record.failures) >= attempts
        if banned:
            record.failures, record.until = [], now + length
        self._records[key] = record
        if len(self._records) > REMEMBERED:
            del self._records[next(iter(self._records))]
        return banned

    def passed(self, address: str) -> None:
        """Somebody there got it right."""
        self._records.pop(client_key(address), None)

    def left(self, address: str) -> int:
        """Seconds that the ban still lasts, 0 for none."""
        record = self._records.get(client_key(address))
        return max(0, math.ceil((record.until - self._clock()) / SECOND)) if record else 0

    def lift(self, address: str) -> bool:
        """Ends a ban; whether there was one."""
        banned = self.left(address) > 0
        self._records.pop(client_key(address), None)
        return banned

    def listed(self) -> list[Ban]:
        now = self._clock()
        return [Ban(address, record.until) for address, record in self._records.items() if record.until > now]

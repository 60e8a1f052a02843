"""Temporary bans of those who guess, and how often somebody may try (contract 3.5); kept in memory and bounded."""

import math
from collections.abc import Callable

from msgspec import Struct

from treadle.core.clock import DAY, HOUR, MINUTE, SECOND
from treadle.core.errors import TooMany

FAILURES = 5
WITHIN = 5 * MINUTE
FIRST_BAN = 60 * SECOND
LONGEST_BAN = HOUR
FORGIVEN = DAY
"""A ban starts at 60 s again when the last one is this long past."""
REMEMBERED = 50_000


class Ban(Struct, frozen=True):
    """Somebody who is kept out, and until when (microseconds UTC)."""

    who: str
    until: int


class _Record(Struct):
    failures: list[int] = []
    bans: int = 0
    until: int = 0

    def stale(self, now: int) -> bool:
        return now > self.until + FORGIVEN and not any(now - at < WITHIN for at in self.failures)


class Strikes:
    """Counts failures by name: five in five minutes are a ban of 60 s, each further one is twice as long, up to 1 h."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}  # in the order in which they were last touched

    def failed(self, who: str) -> None:
        """One failure more."""
        now = self._clock()
        record = self._records.pop(who, None) or _Record()
        if record.stale(now):
            record = _Record()
        record.failures = [at for at in record.failures if now - at < WITHIN] + [now]
        if len(record.failures) >= FAILURES:
            record.failures = []
            record.until = now + min(LONGEST_BAN, FIRST_BAN << min(record.bans, 16))
            record.bans += 1
        self._records[who] = record
        if len(self._records) > REMEMBERED:
            del self._records[next(iter(self._records))]

    def passed(self, who: str) -> None:
        """Somebody who had failed got it right: a ban is over, and how many there were stays known for a day."""
        record = self._records.get(who)
        if record is not None:
            record.failures, record.until = [], min(record.until, self._clock())

    def left(self, who: str) -> int:
        """Seconds that the ban still lasts, 0 for none."""
        record = self._records.get(who)
        return max(0, math.ceil((record.until - self._clock()) / SECOND)) if record else 0

    def refuse(self, who: str) -> None:
        """Raises TooMany while a ban lasts."""
        left = self.left(who)
        if left:
            raise TooMany("Too many failed attempts from here; wait before the next", retry_after=left)

    def banned(self) -> list[Ban]:
        now = self._clock()
        return [Ban(who, record.until) for who, record in self._records.items() if record.until > now]

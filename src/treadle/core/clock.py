"""The time as the fabric sees it: microseconds UTC that never jump, whatever the wall clock does."""

import time
from collections.abc import Callable
from typing import Protocol

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FOLLOW = 2 * SECOND
"""A difference to the wall clock up to this is taken over at once (NTP slewing, not a step)."""
CATCH_UP = 10
"""A step is absorbed at one part in this many of real time, so a lease is at most a tenth off."""


class Clock(Protocol):
    def __call__(self) -> int:
        """Now, in microseconds UTC; never less than the call before."""
        ...


class SteadyClock:
    """Wall-clock time guarded by the monotonic clock: a step of either sign bends it and never breaks it.

    Leases are stored as wall-clock deadlines so that they survive a restart. Within a process this clock alone decides
    whether one has passed: after an NTP step of an hour it drifts towards the new time at a tenth of real speed
    instead of jumping, so no lease is lost at once and none lives twice as long. Where leases can be moved along (see
    `Duties`), a jump ahead, such as the one after a night's sleep, is taken over whole.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._now = wall() // 1000
        self._seen = monotonic() // 1000

    def __call__(self) -> int:
        seen = self._monotonic() // 1000
        elapsed, self._seen = seen - self._seen, seen
        now = self._now + elapsed
        ahead = self._wall() // 1000 - now
        if abs(ahead) <= FOLLOW:
            now += ahead
        else:
            share = elapsed // CATCH_UP
            now += share if ahead > 0 else -share
        self._now = max(now, self._now)
        return self._now

    def behind(self) -> int:
        """How far the wall clock has jumped ahead of this one, microseconds; 0 while they go together."""
        ahead = self._wall() // 1000 - self()
        return ahead if ahead > FOLLOW else 0

    def jump(self, by: int) -> None:
        """Take a jump over at once."""
        self._now += by

"""Passwords of a face's own users: how they are kept (argon2id, RFC 9106), checked without tying up the loop."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from treadle.core.errors import TooMany

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY_KIB = 19 * 1024
PASSES = 2
AT_ONCE = 2
WAITING = 32
"""How many may wait for their turn; the next is told to come back."""


class Passwords:
    """Hashes and checks in threads, two at once: each takes 19 MiB and some tens of milliseconds of a core."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._here = 0

    async def hashed(self, password: str) -> str:
        """The form in which a password is kept."""
        return await self._run(password, None) or ""

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the password kept; with None it is not, and saying so takes as long."""
        return await self._run(password, kept or _nobody()) is not None and kept is not None

    async def _run(self, password: str, kept: str | None) -> str | None:
        if self._here >= AT_ONCE + WAITING:
            raise TooMany("Too many are logging in at once; try again in a moment", retry_after=5)
        self._here += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(_verified, password, kept)
        finally:
            self._here -= 1


def _verified(password: str, kept: str | None) -> str | None:
    """The hash of a password (with `kept` None), or `kept` if the password fits it."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if kept is None:
        return _hasher().hash(password)
    try:
        _hasher().verify(kept, password)
    except (VerificationError, InvalidHashError):
        return None
    return kept


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher  # loads a compiled library, which a server without a user never needs

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


@cache
def _nobody() -> str:
    """A hash that no password fits (its salt and its sum are zeros), as costly to check as a real one."""
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${'A' * 22}${'A' * 43}"

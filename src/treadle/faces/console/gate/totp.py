"""The second factor: time-based codes (RFC 6238), and recovery codes for when the device is lost (contract 3.5).

Every code opens once: the moment of the last one that was taken is stored, and a recovery code goes when it is used.
"""

import hashlib
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from treadle.core.clock import MINUTE, SECOND, Clock
from treadle.core.documents import Collection
from treadle.core.errors import WrongState
from treadle.core.ports import Store, Tx
from treadle.faces.console.errors import WrongCode

if TYPE_CHECKING:
    from pyotp import TOTP

ISSUER = "Treadle"
CODES = 10
CODE_LENGTH = 10
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 characters, none easily taken for another: ten of them are 50 bits."""
SETTING_UP = 15 * MINUTE
DRIFT = 1
"""How many steps of 30 s the clocks may be apart."""


class Factor(Struct, frozen=True):
    """A user's second factor: its secret, SHA-256 of the unused recovery codes, the step of the last code taken."""

    secret: str
    codes: tuple[str, ...]
    last: int = 0


class Pending(Struct, frozen=True):
    """One that was set up and waits for its first code; the recovery codes are shown once more then.

    `until` is microseconds UTC.
    """

    secret: str
    codes: tuple[str, ...]
    until: int


factors = Collection("console_factor", Factor)
pending = Collection("console_factor_pending", Pending)


class SecondFactor:
    """Sets up, checks and takes away the second factor of a user."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def of(self, user: str) -> Factor | None:
        """The factor of a user who has one."""
        found = await self._store.read(lambda tx: factors.get(tx, user))
        return found.value if found else None

    async def set_up(self, user: str) -> tuple[Pending, str]:
        """A new secret with its recovery codes, and its otpauth address. It counts once `enable` has seen a code."""
        from pyotp import random_base32

        until = self._clock() + SETTING_UP
        made = Pending(random_base32(), tuple(_new_code() for _ in range(CODES)), until)

        def verb(tx: Tx) -> bool:
            if factors.get(tx, user) is not None:
                return False
            pending.put(tx, user, made, expires=until)
            return True

        if not await self._store.write(verb):
            raise WrongState("The second factor is on already; take it away first")
        return made, _totp(made.secret).provisioning_uri(name=user, issuer_name=ISSUER)

    async def enable(self, user: str, code: str) -> tuple[str, ...]:
        """Switch on what was set up; the recovery codes. Raises WrongCode, and WrongState if nothing was set up."""
        now = self._clock()

        def verb(tx: Tx) -> tuple[str, ...] | None:
            made = pending.get(tx, user)
            if made is None or now >= made.value.until:  # the store drops it some time later
                return None
            step = _step(made.value.secret, _tidy(code), now)
            if step is None:
                return ()
            hashed = tuple(map(_hashed, made.value.codes))
            factors.put(tx, user, Factor(made.value.secret, hashed, step), version=0)
            pending.delete(tx, user)
            return made.value.codes

        codes = await self._store.write(verb)
        if codes is None:
            raise WrongState("No second factor is being set up, or it was too long ago; set one up first")
        if not codes:
            raise WrongCode
        return codes

    async def take(self, user: str, code: str) -> bool:
        """Whether this is a code of the user that was not used before: it is used then. Either kind will do."""
        now, tidy = self._clock(), _tidy(code)

        def verb(tx: Tx) -> bool:
            found = factors.get(tx, user)
            if found is None:
                return False
            factor, recovery = found.value, _hashed(tidy)
            step = _step(factor.secret, tidy, now)
            if step is not None and step > factor.last:
                factor = replace(factor, last=step)
            elif recovery in factor.codes:
                factor = replace(factor, codes=tuple(kept for kept in factor.codes if kept != recovery))
            else:
                return False
            factors.put(tx, user, factor, version=found.version)
            return True

        return await self._store.write(verb)

    async def remove(self, user: str) -> None:
        """Take the factor away, also one that is only being set up."""

        def verb(tx: Tx) -> None:
            factors.delete(tx, user)
            pending.delete(tx, user)

        await self._store.write(verb)


def _totp(secret: str) -> "TOTP":
    from pyotp import TOTP

    return TOTP(secret)


def _step(secret: str, code: str, now: int) -> int | None:
    """The time step that this code belongs to; None if it is none of about now."""
    from pyotp.exceptions import OTPVerificationError

    if len(code) != 6 or not code.isascii() or not code.isdigit():
        return None
    try:
        return _totp(secret).verify_and_get_timecode(code, for_time=now / SECOND, valid_window=DRIFT)
    except OTPVerificationError:
        return None


def _tidy(code: str) -> str:
    """A code as it is compared: people write `123 456` and `abcde-fghij`."""
    return code.replace(" ", "").replace("-", "").upper()


def _new_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(CODE_LENGTH))


def _hashed(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()

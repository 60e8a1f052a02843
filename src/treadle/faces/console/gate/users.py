"""The web user: the one that the settings name, or the one that the first visitor made (contract 3.1, 3.5)."""

import hashlib
import re
import secrets
from collections.abc import Sequence

from msgspec import Struct

from treadle.core.at_hand import AtHand
from treadle.core.clock import MINUTE, Clock
from treadle.core.documents import Collection
from treadle.core.errors import Duplicate, Malformed
from treadle.core.ports import Store, Tx
from treadle.faces.console.gate.credentials import same
from treadle.faces.console.gate.options import RESERVED, GateOptions
from treadle.faces.console.gate.strength import LEAST_BITS, bits
from treadle.web.passwords import Passwords

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")
_KEY = "user"
REMEMBERED = 5 * MINUTE
"""How long a password that fitted is known without hashing it again; Basic shows it with every request."""


class User(Struct, frozen=True):
    """Somebody who may log in; `password` is the argon2id hash. Instants are microseconds UTC."""

    name: str
    password: str
    created: int


users = Collection("console_user", User)


class Users:
    """There is at most one user; one in the settings takes the place of a stored one."""

    def __init__(self, store: Store, clock: Clock, options: GateOptions) -> None:
        self._store, self._clock, self._options = store, clock, options
        self._passwords = Passwords()
        self._mark = secrets.token_bytes(32)
        self._fitted: tuple[bytes, int] | None = None

        def read(tx: Tx, keys: Sequence[str]) -> dict[str, User | None]:
            found = users.get(tx, _KEY)
            return dict.fromkeys(keys, found.value if found else None)

        self._at_hand = AtHand[User | None](store, clock, read)

    async def name(self) -> str | None:
        """The user's name, None while there is no user."""
        found = await self.known()
        return found[0] if found else None

    async def known(self) -> tuple[str, str] | None:
        """The user's name, and what changes when the password does; None while there is no user."""
        if self._options.has_user:
            return self._options.username, self._options.password
        stored = await self._at_hand.get(_KEY)
        return (stored.name, stored.password) if stored else None

    async def knows(self, name: str, password: str) -> bool:
        """Whether this is the user's name and password; the time it takes does not tell which of them is wrong."""
        if self._options.has_user:
            named = same(name, self._options.username)
            return same(password, self._options.password) and named
        stored = await self._at_hand.get(_KEY)
        if stored is None:
            return False
        shown = hashlib.blake2b(f"{stored.password}\0{name}\0{password}".encode(), key=self._mark).digest()
        fitted = self._fitted
        if fitted is not None and fitted[1] > self._clock() and secrets.compare_digest(fitted[0], shown):
            return True
        if not await self._passwords.fits(password, stored.password if same(name, stored.name) else None):
            return False
        self._fitted = (shown, self._clock() + REMEMBERED)
        return True

    async def create(self, name: str, password: str) -> None:
        """Make the one user. Raises Malformed for a name or password that will not do, Duplicate if there is one."""
        if _NAME.match(name) is None or name in RESERVED:
            raise Malformed("A user name is 1 to 64 letters, digits, dots, dashes, underscores or @")
        if name.lower() in password.lower() or bits(password) < LEAST_BITS:
            raise Malformed("This password is too easy to guess: take a longer one, or more kinds of characters")
        user = User(name, await self._passwords.hashed(password), self._clock())

        def verb(tx: Tx) -> bool:
            if users.get(tx, _KEY) is not None:
                return False
            users.put(tx, _KEY, user, version=0)
            return True

        if not await self._store.write(verb):
            raise Duplicate("There is a user already; log in")
        self._at_hand.forget_all()

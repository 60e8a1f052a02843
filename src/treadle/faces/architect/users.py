"""The users of the agent and what they may do: root with its generated password, and those it makes (spec 5).

A user's record changes together with a fact that tells of it; sessions end by that fact, in every replica.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from treadle.core.at_hand import AtHand
from treadle.core.documents import Collection, Stored
from treadle.core.errors import Conflict, Denied, Duplicate, Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.ports import Tx
from treadle.faces.architect import roles as rules
from treadle.faces.architect.credentials import check, is_token
from treadle.faces.architect.events import fact
from treadle.faces.architect.roles import DEFAULT, ROOT, Rights
from treadle.web.passwords import Passwords

PAGE = 500
FITTED = 1000
"""How many passwords that fitted are known without hashing them again; kept as keyed digests."""


class User(Struct, frozen=True, kw_only=True):
    """Somebody who may connect; `password` is the argon2id hash. Instants are microseconds UTC."""

    name: str
    password: str
    created: int
    roles: tuple[str, ...] = ()
    disabled: bool = False


class Account(Struct, frozen=True):
    """A user with what they may do now."""

    user: User
    rights: Rights


users = Collection("architect_user", User)


class Users:
    """Make, change and end users; `forget` is called when roles change."""

    def __init__(self, fabric: Fabric, *, root_file: Path) -> None:
        self._store, self._clock, self._root_file = fabric.store, fabric.clock, root_file
        self._passwords = Passwords()
        self._mark = secrets.token_bytes(32)
        self._fitted: dict[str, bytes] = {}
        self._opening = asyncio.Lock()
        self._opened = False
        self._at_hand = AtHand[Account](fabric.store, fabric.clock, _accounts)

    async def open(self) -> None:
        """Makes root if there is none, and writes its password into the file, once."""
        async with self._opening:
            if not self._opened:
                if await self._store.read(lambda tx: users.get(tx, ROOT)) is None:
                    await self._make_root()
                self._opened = True

    async def account(self, name: str) -> Account | None:
        """A user who may connect, with their rights."""
        found = await self._at_hand.get(name)
        return None if found is None or found.user.disabled else found

    async def knows(self, name: str, password: str) -> bool:
        """Whether this user may connect with this password; the time it takes does not tell why not."""
        account = await self.account(name)
        kept = account.user.password if account else None
        shown = hashlib.blake2b(f"{kept}\0{name}\0{password}".encode(), key=self._mark).digest()
        if kept is not None and secrets.compare_digest(self._fitted.get(name, b""), shown):
            return True
        if not await self._passwords.fits(password, kept):
            return False
        if len(self._fitted) >= FITTED:
            self._fitted.clear()
        self._fitted[name] = shown
        return True

    async def page(self) -> list[User]:
        """All users by name."""

        def query(tx: Tx) -> list[User]:
            found: list[Stored[User]] = []
            while page := users.page(tx, after=found[-1].key if found else "", limit=PAGE):
                found += page
            return [each.value for each in found]

        return await self._store.read(query)

    async def get(self, name: str) -> User:
        found = await self._store.read(lambda tx: users.get(tx, name))
        if found is None:
            raise NotFound("User", name)
        return found.value

    async def create(self, name: str, password: str | None, roles: Sequence[str], by: str, own: Sequence[str]) -> str:
        """A new user; the password, which is generated where none is given. `own` are the scopes of who makes it."""
        password = password or new_id()
        check(name, password)
        now = self._clock()
        hashed = await self._passwords.hashed(password)

        def verb(tx: Tx) -> None:
            _check_roles(tx, roles, own)
            if users.get(tx, name) is not None:
                raise Duplicate(f"There is a user {name} already")
            users.put(tx, name, User(name=name, password=hashed, created=now, roles=_tidy(roles)), version=0)
            tx.append_events([fact("user.created", name, now, by=by)])

        await self._store.write(verb)
        self._at_hand.drop(name)
        return password

    async def set_password(self, name: str, password: str | None, by: str, own: Sequence[str]) -> str:
        """Another password, generated where none is given; it ends the user's connections. `own` as for `create`."""
        password = password or new_id()
        check(name, password)
        hashed = await self._passwords.hashed(password)

        def rule(tx: Tx, user: User) -> User:
            if name != by:
                _check_reach(tx, user, own)
            return replace(user, password=hashed)

        await self._change(name, rule, by, "password")
        return password

    async def set_roles(self, name: str, roles: Sequence[str], by: str, own: Sequence[str]) -> User:
        def rule(tx: Tx, user: User) -> User:
            _not_root(name)
            _check_reach(tx, user, own)
            _check_roles(tx, roles, own)
            return replace(user, roles=_tidy(roles))

        return await self._change(name, rule, by, "roles")

    async def set_disabled(self, name: str, disabled: bool, by: str, own: Sequence[str]) -> User:
        """Keeps a user out, or lets them in again."""

        def rule(tx: Tx, user: User) -> User:
            _not_root(name)
            _check_reach(tx, user, own)
            return replace(user, disabled=disabled)

        return await self._change(name, rule, by, "disabled" if disabled else "enabled")

    async def delete(self, name: str, by: str, own: Sequence[str]) -> None:
        _not_root(name)
        now = self._clock()

        def verb(tx: Tx) -> None:
            found = users.get(tx, name)
            if found is None:
                raise NotFound("User", name)
            _check_reach(tx, found.value, own)
            users.delete(tx, name)
            tx.append_events([fact("user.deleted", name, now, by=by)])

        await self._store.write(verb)
        self._at_hand.drop(name)

    def forget(self, name: str | None = None) -> None:
        """A user changed, or a role that anybody may have."""
        if name is None:
            self._at_hand.forget_all()
        else:
            self._at_hand.drop(name)

    async def _change(self, name: str, rule: Callable[[Tx, User], User], by: str, what: str) -> User:
        now = self._clock()

        def verb(tx: Tx) -> User:
            found = users.get(tx, name)
            if found is None:
                raise NotFound("User", name)
            changed = rule(tx, found.value)
            users.put(tx, name, changed, version=found.version)
            tx.append_events([fact("user.updated", name, now, by=by, changed=what)])
            return changed

        changed = await self._store.write(verb)
        self._at_hand.drop(name)
        return changed

    async def _make_root(self) -> None:
        """With the password that the file has already, if the store was lost; another replica may be quicker."""
        given = await asyncio.to_thread(_read, self._root_file)
        password = given if given and is_token(given) else new_id()
        root = User(name=ROOT, password=await self._passwords.hashed(password), created=self._clock(), roles=(ROOT,))

        def verb(tx: Tx) -> bool:
            if users.get(tx, ROOT) is not None:
                return False
            users.put(tx, ROOT, root, version=0)
            return True

        if password != given:  # first: a root whose password nobody knows would be of no use
            await asyncio.to_thread(_write, self._root_file, password)
        if not await self._store.write(verb) and password != given:
            await asyncio.to_thread(self._root_file.unlink, True)
        self._at_hand.drop(ROOT)


def _accounts(tx: Tx, names: Sequence[str]) -> dict[str, Account]:
    found = users.get_many(tx, names)
    held = {user.name: rules.stored(tx, [DEFAULT, *user.roles]) for user in found.values()}
    return {name: Account(user, rules.rights_of(held[name])) for name, user in found.items()}


def _check_roles(tx: Tx, names: Sequence[str], own: Sequence[str]) -> None:
    """Raises Invalid for roles that do not exist, Denied for one that gives more than its giver has."""
    found = {role.name: role for role in rules.stored(tx, names)}
    lacking = [name for name in names if name not in found]
    if lacking:
        raise Invalid(Fault("roles", f"no role {lacking[0]}"))
    for role in found.values():
        if not rules.within(own, role):
            raise Denied(f"The role {role.name} gives permissions that you do not have yourself")


def _check_reach(tx: Tx, user: User, own: Sequence[str]) -> None:
    """Raises Denied where somebody would gain power over a user who may do more than they may."""
    if not all(rules.within(own, role) for role in rules.stored(tx, user.roles)):
        raise Denied(f"The user {user.name} has permissions that you do not have yourself")


def _not_root(name: str) -> None:
    if name == ROOT:
        raise Conflict("root stays as it is; only its password can be changed")


def _tidy(roles: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(roles) if name != DEFAULT)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None


def _write(path: Path, password: str) -> None:
    """All of it or nothing, and never readable by others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(password + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)

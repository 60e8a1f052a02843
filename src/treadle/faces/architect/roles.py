"""A role is a set of permissions, everywhere or on some servers; users may do what their roles say (spec 5)."""

import re
from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from treadle.core.access import PUBLIC, covers
from treadle.core.documents import Collection
from treadle.core.ports import Tx
from treadle.faces.architect.catalogue import permission_of, scope_of

ROOT, DEFAULT = "root", "default"
SERVER = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)"
_WORD = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?\Z")


class Role(Struct, frozen=True, kw_only=True):
    """Permissions such as `server.start`, `server.*` and `*`; on all servers where none is named."""

    name: str
    permissions: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


FIXED = {
    ROOT: Role(name=ROOT, permissions=("*",)),
    DEFAULT: Role(name=DEFAULT, permissions=("agent.info",)),
}
"""Roles that are always there and never change; everybody has the default one."""

roles = Collection("architect_role", Role)


class Rights(Struct, frozen=True):
    """The scopes that somebody holds everywhere, and those they hold on single servers besides."""

    everywhere: tuple[str, ...] = ()
    on: Mapping[str, tuple[str, ...]] = {}

    def scopes(self, servers: Iterable[str] = ()) -> tuple[str, ...]:
        """The scopes that hold on all of these servers; without any, those that hold everywhere."""
        held = [(*self.everywhere, *self.on.get(server, ())) for server in servers]
        common = [scope for each in held for scope in each if all(_any(other, scope) for other in held)]
        return tuple(dict.fromkeys((*self.everywhere, *common)))

    def hold(self, scope: str, server: str | None = None) -> bool:
        """Whether a scope is held everywhere, or on this server."""
        held = self.everywhere if server is None else self.scopes((server,))
        return scope == PUBLIC or _any(held, scope)

    def where(self, scope: str) -> frozenset[str]:
        """The servers on which a scope is held that is not held everywhere."""
        return frozenset(server for server, held in self.on.items() if _any(held, scope))


def rights_of(held: Iterable[Role]) -> Rights:
    """What somebody with these roles may do."""
    everywhere: dict[str, None] = {}
    on: dict[str, dict[str, None]] = {}
    for role in held:
        scopes = dict.fromkeys(map(scope_of, role.permissions))
        if not role.servers:
            everywhere |= scopes
        for server in role.servers:
            on.setdefault(server, {}).update(scopes)
    return Rights(tuple(everywhere), {server: tuple(scopes) for server, scopes in on.items()})


def within(scopes: Some[str], role: Role) -> bool:
    """Whether all that a role gives is covered by these scopes: nobody gives what they do not have."""
    return all(_any(scopes, scope_of(permission)) for permission in role.permissions)


def known(permission: str, scopes: Iterable[str]) -> bool:
    """Whether a permission means something: it is, or covers, that of some action."""
    if permission == "*":
        return True
    return _WORD.match(permission) is not None and any(covers(scope_of(permission), scope) for scope in scopes)


def stored(tx: Tx, names: Sequence[str]) -> list[Role]:
    """The roles of these names that exist, the fixed ones first."""
    fixed = [FIXED[name] for name in names if name in FIXED]
    return fixed + list(roles.get_many(tx, [name for name in names if name not in FIXED]).values())


def shown(role: Role) -> dict[str, object]:
    """A role as replies carry it."""
    return {
        "role": role.name,
        "permissions": list(role.permissions),
        "servers": list(role.servers),
        "fixed": role.name in FIXED,
    }


def words(rights: Rights, server: str | None = None) -> list[str]:
    """The permissions that are held, as this document spells them."""
    return sorted(map(permission_of, rights.everywhere if server is None else rights.on.get(server, ())))


def _any(held: Iterable[str], scope: str) -> bool:
    return any(covers(each, scope) for each in held)

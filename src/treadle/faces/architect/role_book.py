"""The roles that people make: create, change, delete; nobody gives what they do not have themselves (spec 5, 7.5)."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from treadle.core.errors import Conflict, Denied, Duplicate, NotFound
from treadle.core.fabric import Fabric
from treadle.core.ports import Tx
from treadle.faces.architect.events import fact
from treadle.faces.architect.roles import FIXED, Role, roles, within
from treadle.faces.architect.users import PAGE, users


class Roles:
    """Verbs on roles; `changed` is called when one did."""

    def __init__(self, fabric: Fabric, changed: Callable[[], None]) -> None:
        self._store, self._clock, self._changed = fabric.store, fabric.clock, changed

    async def page(self) -> list[Role]:
        """All roles, the fixed ones first."""

        def query(tx: Tx) -> list[Role]:
            found: list[Role] = []
            while page := roles.page(tx, after=found[-1].name if found else "", limit=PAGE):
                found += [stored.value for stored in page]
            return found

        return [*FIXED.values(), *await self._store.read(query)]

    async def create(self, role: Role, by: str, own: Sequence[str]) -> Role:
        """A new role. Raises Duplicate, and Denied for permissions that its maker lacks."""
        _allowed(role, own)
        now = self._clock()

        def verb(tx: Tx) -> None:
            if role.name in FIXED or roles.get(tx, role.name) is not None:
                raise Duplicate(f"There is a role {role.name} already")
            roles.put(tx, role.name, role, version=0)
            tx.append_events([fact("role.created", role.name, now, by=by)])

        await self._store.write(verb)
        return role

    async def update(
        self,
        name: str,
        permissions: Sequence[str] | None,
        servers: Sequence[str] | None,
        by: str,
        own: Sequence[str],
    ) -> Role:
        """Other permissions or servers; what is None stays."""
        _not_fixed(name)
        now = self._clock()

        def verb(tx: Tx) -> Role:
            found = roles.get(tx, name)
            if found is None:
                raise NotFound("Role", name)
            _allowed(found.value, own)
            changed = replace(
                found.value,
                permissions=found.value.permissions if permissions is None else tuple(permissions),
                servers=found.value.servers if servers is None else tuple(servers),
            )
            _allowed(changed, own)
            roles.put(tx, name, changed, version=found.version)
            tx.append_events([fact("role.updated", name, now, by=by)])
            return changed

        changed = await self._store.write(verb)
        self._changed()
        return changed

    async def delete(self, name: str, by: str, own: Sequence[str]) -> None:
        """Raises Conflict while somebody has the role."""
        _not_fixed(name)
        now = self._clock()

        def verb(tx: Tx) -> None:
            found = roles.get(tx, name)
            if found is None:
                raise NotFound("Role", name)
            _allowed(found.value, own)
            after = ""
            while page := users.page(tx, after=after, limit=PAGE):
                after = page[-1].key
                holder = next((stored.key for stored in page if name in stored.value.roles), None)
                if holder is not None:
                    raise Conflict(f"{holder} has the role {name}; take it away first")
            roles.delete(tx, name)
            tx.append_events([fact("role.deleted", name, now, by=by)])

        await self._store.write(verb)
        self._changed()


def _not_fixed(name: str) -> None:
    if name in FIXED:
        raise Conflict(f"The role {name} is built in and stays as it is")


def _allowed(role: Role, own: Sequence[str]) -> None:
    if not within(own, role):
        raise Denied(f"The role {role.name} gives permissions that you do not have yourself")

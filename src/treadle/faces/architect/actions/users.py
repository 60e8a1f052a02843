"""The actions on users, roles and bans (spec 7.5)."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.core.access import PUBLIC
from treadle.core.actions import Action, Answer, Caller
from treadle.core.clock import SECOND
from treadle.core.errors import Denied, Fault, Invalid, NotFound
from treadle.core.fabric import Fabric
from treadle.faces.architect.actions.context import Context, name_of
from treadle.faces.architect.actions.session import Nothing
from treadle.faces.architect.catalogue import permission_of
from treadle.faces.architect.options import FACE
from treadle.faces.architect.roles import DEFAULT, SERVER, Role, known, shown
from treadle.faces.architect.users import User

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Password = Annotated[str, Meta(min_length=1, max_length=256)]
RoleName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$(?!\n)")]
RoleNames = Annotated[list[Name], Meta(max_length=50)]
Permissions = Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=500)]
Servers = Annotated[list[Annotated[str, Meta(pattern=SERVER)]], Meta(max_length=500)]


class UserName(Struct):
    """Which user."""

    username: Name


class UserCreate(Struct):
    """A new user; without a password one is generated."""

    username: Name
    password: Password | None = None
    roles: RoleNames = []


class UserPassword(Struct):
    """Another password, your own without a name."""

    password: Password
    username: Name | None = None


class UserRoles(Struct):
    """The roles that a user shall have, besides the default one."""

    username: Name
    roles: RoleNames


class UserDisable(Struct):
    """Keep a user out, or let them in again."""

    username: Name
    disabled: bool = True


class RoleOf(Struct):
    """Which role."""

    role: Name


class RoleCreate(Struct):
    """A new role, on all servers where none is named."""

    role: RoleName
    permissions: Permissions
    servers: Servers = []


class RoleChanges(Struct, forbid_unknown_fields=True):
    """What of a role shall change."""

    permissions: Permissions | UnsetType = UNSET
    servers: Servers | UnsetType = UNSET


class RoleUpdate(Struct):
    """Another set of permissions, or other servers."""

    role: Name
    changes: RoleChanges


class Address(Struct):
    """Which address, as `bans` lists it."""

    address: Annotated[str, Meta(min_length=1, max_length=64)]


def user_actions(context: Context) -> list[Action]:
    """The rows on users."""
    users = context.users

    async def listed(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        return Answer(data={"users": [_shown(user) for user in await users.page()]})

    async def one(_: Fabric, __: Caller, asked: UserName) -> Answer:
        return Answer(data=_shown(await users.get(asked.username)))

    async def create(_: Fabric, caller: Caller, asked: UserCreate) -> Answer:
        own = caller.principal.scopes
        password = await users.create(asked.username, asked.password, asked.roles, name_of(caller), own)
        return Answer(data={**_shown(await users.get(asked.username)), "password": password})

    async def delete(_: Fabric, caller: Caller, asked: UserName) -> Answer:
        await users.delete(asked.username, name_of(caller), caller.principal.scopes)
        return Answer(data={"deleted": asked.username})

    async def password(_: Fabric, caller: Caller, asked: UserPassword) -> Answer:
        own = caller.principal.name if caller.principal.face == FACE else None
        whose = asked.username or own
        if whose is None:
            raise Invalid(Fault("username", "is required"))
        if whose != own and not caller.principal.holds("user:password"):
            raise Denied("The password of another user needs the permission user.password")
        await users.set_password(whose, asked.password, name_of(caller), caller.principal.scopes)
        return Answer(data={"username": whose})

    async def roles(_: Fabric, caller: Caller, asked: UserRoles) -> Answer:
        user = await users.set_roles(asked.username, asked.roles, name_of(caller), caller.principal.scopes)
        return Answer(data=_shown(user))

    async def disable(_: Fabric, caller: Caller, asked: UserDisable) -> Answer:
        user = await users.set_disabled(asked.username, asked.disabled, name_of(caller), caller.principal.scopes)
        return Answer(data=_shown(user))

    return [
        Action(name="users", summary="All users", params=Nothing, scope="user:list", run=listed, reads=True),
        Action(name="user", summary="One user", params=UserName, scope="user:list", run=one, reads=True),
        Action(name="user_create", summary="Make a user; the reply has the password, this once", params=UserCreate,
               scope="user:create", run=create),
        Action(name="user_delete", summary="Delete a user and close their connections", params=UserName,
               scope="user:delete", run=delete),
        Action(name="user_password", summary="Set a password, your own or that of another user",
               params=UserPassword, scope=PUBLIC, run=password),
        Action(name="user_roles", summary="Set the roles of a user", params=UserRoles, scope="user:roles", run=roles),
        Action(name="user_disable", summary="Keep a user out, or let them in again", params=UserDisable,
               scope="user:disable", run=disable),
    ]  # fmt: skip


def role_actions(context: Context) -> list[Action]:
    """The rows on roles, permissions and bans."""
    roles = context.roles

    async def listed(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        return Answer(data={"roles": [shown(role) for role in await roles.page()]})

    async def create(_: Fabric, caller: Caller, asked: RoleCreate) -> Answer:
        _check(asked.permissions, context.scopes)
        role = Role(name=asked.role, permissions=tuple(asked.permissions), servers=tuple(asked.servers))
        return Answer(data=shown(await roles.create(role, name_of(caller), caller.principal.scopes)))

    async def update(_: Fabric, caller: Caller, asked: RoleUpdate) -> Answer:
        permissions, servers = asked.changes.permissions, asked.changes.servers
        if permissions is not UNSET:
            _check(permissions, context.scopes)
        changed = await roles.update(
            asked.role,
            None if permissions is UNSET else permissions,
            None if servers is UNSET else servers,
            name_of(caller),
            caller.principal.scopes,
        )
        return Answer(data=shown(changed))

    async def delete(_: Fabric, caller: Caller, asked: RoleOf) -> Answer:
        await roles.delete(asked.role, name_of(caller), caller.principal.scopes)
        return Answer(data={"deleted": asked.role})

    async def permissions(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        words = sorted(permission_of(scope) for scope in context.scopes if scope != PUBLIC)
        return Answer(data={"permissions": [{"permission": word, "area": word.partition(".")[0]} for word in words]})

    async def bans(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        rows = [{"address": ban.address, "until": ban.until // SECOND} for ban in context.bans.listed()]
        return Answer(data={"bans": rows})

    async def ban_remove(_: Fabric, __: Caller, asked: Address) -> Answer:
        if not context.bans.lift(asked.address):
            raise NotFound("Ban", asked.address)
        return Answer(data={"removed": asked.address})

    return [
        Action(name="roles", summary="All roles", params=Nothing, scope="role:list", run=listed, reads=True),
        Action(name="role_create", summary="Make a role", params=RoleCreate, scope="role:create", run=create),
        Action(name="role_update", summary="Change a role", params=RoleUpdate, scope="role:update", run=update),
        Action(name="role_delete", summary="Delete a role that nobody has", params=RoleOf, scope="role:delete",
               run=delete),
        Action(name="permissions", summary="All permissions", params=Nothing, scope="role:list", run=permissions,
               reads=True),
        Action(name="bans", summary="The addresses that are kept out for a while", params=Nothing, scope="ban:list",
               run=bans, reads=True),
        Action(name="ban_remove", summary="Let an address in again", params=Address, scope="ban:remove",
               run=ban_remove),
    ]  # fmt: skip


def _shown(user: User) -> dict[str, object]:
    return {
        "username": user.name,
        "roles": [DEFAULT, *user.roles],
        "disabled": user.disabled,
        "created": user.created // SECOND,
    }


def _check(permissions: list[str], scopes: frozenset[str]) -> None:
    """Raises Invalid for permissions that mean nothing here."""
    wrong = [word for word in permissions if not known(word, scopes)]
    if wrong:
        raise Invalid(*(Fault(f"permissions.{word}", "there is no such permission") for word in wrong[:20]))

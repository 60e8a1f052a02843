"""Bearer tokens: the one that the settings fix, or those made in the pages, kept by their hash (contract 3.1, 3.3)."""

import re

from msgspec import Struct

from treadle.core.access import Grant, Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Duplicate, Malformed, NotFound
from treadle.core.fabric import Fabric
from treadle.core.grants import grants
from treadle.core.ids import new_secret
from treadle.core.ports import Tx
from treadle.faces.console.errors import ReadOnlyTokens
from treadle.faces.console.gate.credentials import same
from treadle.faces.console.gate.options import GateOptions
from treadle.faces.console.gate.sessions import FACE, USE
from treadle.faces.console.gate.users import Users

TOKEN = "console-token"  # noqa: S105  (a kind of grant, no secret)
OWNERS_FACE = "fabric"
"""The face of the server's own keys, which are taken here too (design 4, day-one rulings)."""
_STORABLE = re.compile(r"[A-Za-z0-9._~+/=-]{32,256}\Z")
_PAGE = 500


class Made(Struct, frozen=True):
    """A new token, shown this once, and whether it is stored."""

    token: str
    stored: bool


class Tokens:
    """Knows whose a token is, and keeps the stored ones."""

    def __init__(self, fabric: Fabric, users: Users, options: GateOptions) -> None:
        self._fabric, self._users, self._options = fabric, users, options

    @property
    def read_only(self) -> bool:
        return bool(self._options.token)

    async def holder(self, token: str) -> Principal | None:
        """Who shows this token; None if it is not valid. No token manages anything: it opens `console:use` alone."""
        if self._options.token:
            return await self._unnamed() if same(token, self._options.token) else None
        if self._options.test_token and same(token, self._options.test_token):
            return await self._unnamed()
        grant = await self._fabric.grants.check(token)
        if grant is None or grant.project is not None:
            return None
        if grant.face == FACE and grant.kind == TOKEN:
            return grant.opens_for()
        if grant.face == OWNERS_FACE and grant.opens_for().holds(USE):
            return Principal(name=grant.principal, face=FACE, scopes=(USE,), grant=grant.id)
        return None

    async def _unnamed(self) -> Principal:
        """A token from the settings is the user's, where there is one: what either starts the other can see."""
        return Principal(name=await self._users.name() or "token", face=FACE, scopes=(USE,))

    async def listed(self) -> list[Grant]:
        """The stored tokens, oldest first; none while the settings fix one."""
        if self.read_only:
            return []
        now = self._fabric.clock()
        found = await self._fabric.store.read(_stored)
        return sorted((grant for grant in found if grant.live(now)), key=lambda grant: (grant.created, grant.id))

    async def generate(self, user: str, label: str, *, store: bool, seconds: int | None) -> Made:
        """A new token; one that is not stored opens nothing until it is."""
        self._writable()
        token = new_secret()
        if store:
            await self._open(user, label, token, seconds)
        return Made(token, store)

    async def store(self, user: str, label: str, token: str, seconds: int | None) -> None:
        """Take a token that was made before. Raises Malformed for a weak one, Duplicate for one that is stored."""
        self._writable()
        if _STORABLE.match(token) is None:
            raise Malformed("A token is 32 to 256 letters, digits or any of . _ ~ + / = -")
        if await self._fabric.grants.check(token) is not None:
            raise Duplicate("This token is stored already")
        await self._open(user, label, token, seconds)

    async def delete(self, id: str) -> None:
        """End a stored token. Raises NotFound for an unknown one."""
        self._writable()
        for grant in await self.listed():
            if grant.id == id:
                await self._fabric.grants.close(grant)
                return
        raise NotFound("Token", id)

    async def _open(self, user: str, label: str, token: str, seconds: int | None) -> None:
        await self._fabric.grants.open(
            kind=TOKEN,
            principal=user,
            face=FACE,
            scopes=(USE,),
            lifetime=None if seconds is None else seconds * SECOND,
            data={"label": label},
            secret=token,
        )

    def _writable(self) -> None:
        if self.read_only:
            raise ReadOnlyTokens


def _stored(tx: Tx) -> list[Grant]:
    """All tokens of this face; they lie among the grants that belong to no project."""
    found: list[Grant] = []
    after = ""
    while page := grants.page(tx, group="", after=after, limit=_PAGE):
        found += [stored.value for stored in page if (stored.value.face, stored.value.kind) == (FACE, TOKEN)]
        after = page[-1].key
    return found

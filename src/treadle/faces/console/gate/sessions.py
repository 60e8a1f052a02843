"""Who a browser is: logged in, remembered from an earlier login, or nobody yet (contract 3.1).

A login is a grant of this face; an anonymous session is a signed cookie that nothing stores.
"""

import re

from msgspec import Struct

from treadle.core.access import Grant
from treadle.core.clock import DAY, HOUR, SECOND
from treadle.core.grants import Grants
from treadle.faces.console.gate.cookies import REMEMBER, SESSION, forget, keep
from treadle.faces.console.gate.credentials import same
from treadle.faces.console.gate.csrf import Csrf
from treadle.faces.console.gate.users import Users
from treadle.web.call import Call, Headers

FACE = "console"
LOGIN, REMEMBERED = "console-session", "console-remember"
"""The kinds of grants."""
LASTS = 12 * HOUR
REMEMBERED_FOR = 30 * DAY

USE, ADMIN = "console:use", "console:admin"
SCOPES = (USE, ADMIN)
"""What a login opens; everything else opens `console:use` alone."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class Session(Struct, frozen=True):
    """A browser's session: its id, which the CSRF token is made from, and the grant of whoever is logged in."""

    id: str
    grant: Grant | None = None


class Sessions:
    """Opens, finds and closes them."""

    def __init__(self, grants: Grants, users: Users, csrf: Csrf) -> None:
        self._grants, self._users, self._csrf = grants, users, csrf

    async def find(self, call: Call) -> Session | None:
        """The session whose cookie the call carries: a login, else a remembered one, else an anonymous one."""
        grant = await self._grant(call, SESSION, LOGIN) or await self._grant(call, REMEMBER, REMEMBERED)
        if grant is not None:
            return Session(grant.id, grant)
        anonymous = self._csrf.anonymous(call.cookies.get(SESSION, ""))
        return Session(anonymous) if anonymous is not None else None

    async def begin(self, call: Call) -> tuple[Session, Headers]:
        """The session of this call, and the headers that give it one, where it has none of its own yet.

        A remembered caller gets a login session; the store is written for them only.
        """
        found = await self.find(call)
        if found is None:
            name, proof = self._csrf.new_anonymous()
            return Session(name), (keep(call, SESSION, proof),)
        if found.grant is not None and found.grant.kind == REMEMBERED:
            return await self._open(call, found.grant.principal)
        return found, ()

    async def log_in(self, call: Call, user: str, *, remember: bool) -> Headers:
        """Open a session for a user who has shown who they are; what the browser had before ends."""
        await self._close(call)
        _, headers = await self._open(call, user)
        if not remember:
            return (*headers, forget(call, REMEMBER)) if REMEMBER in call.cookies else headers
        _, secret = await self._grant_to(user, REMEMBERED, REMEMBERED_FOR)
        return (*headers, keep(call, REMEMBER, secret, seconds=REMEMBERED_FOR // SECOND))

    async def log_out(self, call: Call) -> Headers:
        """End what the browser's cookies open, and make it forget them."""
        await self._close(call)
        return forget(call, SESSION), forget(call, REMEMBER)

    async def _open(self, call: Call, user: str) -> tuple[Session, Headers]:
        grant, secret = await self._grant_to(user, LOGIN, LASTS)
        return Session(grant.id, grant), (keep(call, SESSION, secret),)

    async def _grant_to(self, user: str, kind: str, lifetime: int) -> tuple[Grant, str]:
        return await self._grants.open(
            kind=kind, principal=user, face=FACE, scopes=SCOPES, lifetime=lifetime, data={"mark": await self._mark()}
        )

    async def _mark(self) -> str:
        return self._csrf.mark(*(await self._users.known() or ("", "")))

    async def _close(self, call: Call) -> None:
        for name, kind in ((SESSION, LOGIN), (REMEMBER, REMEMBERED)):
            grant = await self._grant(call, name, kind)
            if grant is not None:
                await self._grants.close(grant)

    async def _grant(self, call: Call, name: str, kind: str) -> Grant | None:
        """The live grant behind a cookie, of the user as he is now; what cannot be our secret is not looked for."""
        secret = call.cookies.get(name)
        if secret is None or _SECRET.match(secret) is None:
            return None
        grant = await self._grants.check(secret)
        if grant is None or (grant.face, grant.kind) != (FACE, kind):
            return None
        return grant if same(grant.data.get("mark", ""), await self._mark()) else None

"""What the face's own actions act on."""

from msgspec import Struct

from treadle.core.actions import Caller
from treadle.core.errors import NotFound
from treadle.faces.architect.audit import Audit
from treadle.faces.architect.bans import Bans
from treadle.faces.architect.conduct import Conducting
from treadle.faces.architect.errors import Unsupported
from treadle.faces.architect.machine import Machine
from treadle.faces.architect.options import FACE, Options
from treadle.faces.architect.role_book import Roles
from treadle.faces.architect.roles import Rights
from treadle.faces.architect.session import Session
from treadle.faces.architect.telling import Telling
from treadle.faces.architect.topics import Topic
from treadle.faces.architect.users import Users


class Context(Struct):
    """The parts of the face, and what is known once it is put together: all scopes, all topics."""

    options: Options
    users: Users
    roles: Roles
    bans: Bans
    audit: Audit
    conducting: Conducting
    telling: Telling
    machine: Machine
    started: int
    topics: dict[tuple[str, bool], Topic] = {}
    fact_topics: dict[str, str] = {}
    scopes: frozenset[str] = frozenset()

    async def rights(self, caller: Caller) -> Rights:
        """All that a caller may do, on whatever server."""
        if caller.principal.face != FACE:
            return Rights(caller.principal.scopes)
        account = await self.users.account(caller.principal.name)
        return account.rights if account else Rights()

    def session(self, caller: Caller) -> Session:
        """The connection that a call came over. Raises Unsupported where it came another way."""
        found = self.telling.sessions.get(caller.conversation or "")
        if found is None or caller.principal.face != FACE:
            raise Unsupported("This needs a connection of the Architect's own")
        return found

    def session_named(self, id: str) -> Session:
        found = self.telling.sessions.get(id)
        if found is None:
            raise NotFound("Session", id)
        return found


def name_of(caller: Caller) -> str:
    """Who calls, so that somebody of another face is not taken for a user of the same name."""
    principal = caller.principal
    return principal.name if principal.face == FACE else f"{principal.name}@{principal.face}"

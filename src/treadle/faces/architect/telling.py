"""The open connections, and what is told to all of them: facts as they are committed, and news that nobody keeps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from treadle.core.clock import SECOND
from treadle.core.errors import FabricError
from treadle.core.events import Event
from treadle.core.fabric import Fabric
from treadle.faces.architect.events import Area, Told, told
from treadle.faces.architect.roles import Rights
from treadle.faces.architect.session import Session
from treadle.faces.architect.users import Users
from treadle.web.log import Log

CHANGED, DELETED = 4401, 4403
AGAIN_SECONDS = 1.0
KEPT = 10_000
"""How many facts back a client may go."""
PAGE = 500


class Telling:
    """Follows the log of facts and tells each connection what its user may hear.

    `on_fact` hears the kind of every fact of this face first.
    """

    def __init__(
        self,
        fabric: Fabric,
        users: Users,
        areas: Mapping[str, Area],
        log: Log,
        on_fact: Callable[[str], Awaitable[None]],
    ) -> None:
        self._fabric, self._users, self._areas, self._log = fabric, users, areas, log
        self._on_fact = on_fact
        self.sessions: dict[str, Session] = {}

    def count(self, user: str) -> int:
        return sum(session.user == user for session in self.sessions.values())

    async def run(self) -> None:
        """Until cancelled."""
        cursor: int | None = None
        while True:
            try:
                cursor = cursor if cursor is not None else await self._fabric.events.last()
                async for fact in self._fabric.events.follow(cursor):
                    await self._pass_on(fact)
                    cursor = fact.seq
            except FabricError as error:
                self._log.warning("events cannot be read", reason=error.message)
                await asyncio.sleep(AGAIN_SECONDS)

    async def say(self, news: Told) -> None:
        """Tell everybody who may hear it."""
        if not self.sessions:
            return
        frame = news.frame()
        rights: dict[str, Rights | None] = {}
        for user in {session.user for session in self.sessions.values()}:
            account = await self._users.account(user)
            rights[user] = account.rights if account else None
        for session in list(self.sessions.values()):
            held = rights.get(session.user)
            if held is None or not news.audible(session.user, held):
                continue
            if news.topic is None or news.owner == session.user or session.hears(news.topic, news.server):
                session.tell(frame)

    async def since(
        self, cursor: int, limit: int, wants: Callable[[Told], bool], user: str, rights: Rights
    ) -> tuple[list[Told], int]:
        """Kept events after a cursor that somebody may hear and wants; and the cursor to go on from."""
        newest = await self._fabric.events.last()
        cursor = max(cursor, newest - KEPT)
        found: list[Told] = []
        while cursor < newest:
            page = await self._fabric.events.after(cursor, PAGE)
            for fact in page:
                news = told(fact, self._areas)
                cursor = fact.seq
                if news is not None and news.audible(user, rights) and wants(news):
                    found.append(news)
                    if len(found) == limit:
                        return found, cursor
            if len(page) < PAGE:
                break
        return found, max(cursor, newest)

    def live(self, name: str, scope: str, **parameters: object) -> Told:
        """News of now, that nobody keeps."""
        return Told(name=name, parameters=parameters, scope=scope, date=self._fabric.clock() // SECOND)

    async def _pass_on(self, fact: Event) -> None:
        news = told(fact, self._areas)
        if news is None:
            return
        await self._on_fact(fact.kind)
        await self.say(news)
        kind: str = fact.kind
        if kind in ("user.updated", "user.deleted", "role.updated", "role.deleted"):
            await self._reconsider(fact)

    async def _reconsider(self, fact: Event) -> None:
        """Somebody's rights changed, or their password, or they are gone."""
        whose = fact.subject if fact.kind.startswith("user.") else None
        self._users.forget(whose)
        for session in list(self.sessions.values()):
            if whose not in (None, session.user):
                continue
            account = await self._users.account(session.user)
            if account is None:
                session.end(DELETED, "the user was deleted or disabled")
            elif fact.data.get("changed") == "password":
                session.end(CHANGED, "the password was changed")
            else:
                session.recheck(account.rights)

"""What a logged-in user sees and sets of who comes: the access log, and the lists of addresses (contract 1, 7)."""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import UNSET

from treadle.core.clock import SECOND
from treadle.faces.console.gate import wire
from treadle.faces.console.gate.addresses import AddressLists
from treadle.faces.console.gate.parts import Parts
from treadle.faces.console.gate.sessions import ADMIN
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route


class AccessLog(Protocol):
    """What the routes need of the access log."""

    @property
    def level(self) -> wire.Level: ...

    def entries(self, n: int) -> Sequence[Any]:
        """The newest entries, at most so many."""
        ...

    async def set_level(self, level: wire.Level) -> None: ...


class Control:
    """The routes `/api/ip_control` and `/api/access_log`."""

    def __init__(self, parts: Parts, access_log: AccessLog | None) -> None:
        self._addresses, self._strikes, self._log = parts.addresses, parts.strikes, parts.log
        self._access_log = access_log

    def routes(self) -> list[Route]:
        lists = [
            Route(method="GET", path="/api/ip_control", handler=self.lists, scope=ADMIN, reply=wire.IpControl,
                  summary="The lists of addresses, and who is banned for a while", tag="Access"),
            Route(method="POST", path="/api/ip_control", handler=self.change_lists, scope=ADMIN, body=wire.IpChange,
                  reply=wire.IpControl, errors=(400, 409), summary="Change the lists of addresses", tag="Access"),
        ]  # fmt: skip
        return lists + (self._log_routes(self._access_log) if self._access_log is not None else [])

    def _log_routes(self, access_log: AccessLog) -> list[Route]:
        async def level(_: Call) -> Reply:
            return json_reply(wire.AccessLevel(True, access_log.level))

        async def set_level(call: Call) -> Reply:
            await access_log.set_level(call.body.level)
            self._say("console access log level", call, level=call.body.level)
            return json_reply(wire.AccessLevel(True, access_log.level))

        async def entries(call: Call) -> Reply:
            return json_reply(wire.AccessEntries(True, list(access_log.entries(call.query.n))))

        return [
            Route(method="GET", path="/api/access_log/level", handler=level, scope=ADMIN, reply=wire.AccessLevel,
                  summary="How much the access log notes", tag="Access"),
            Route(method="POST", path="/api/access_log/level", handler=set_level, scope=ADMIN,
                  body=wire.AccessLevelChange, reply=wire.AccessLevel, errors=(400,),
                  summary="Set how much the access log notes", tag="Access"),
            Route(method="GET", path="/api/access_log/entries", handler=entries, scope=ADMIN, query=wire.EntriesQuery,
                  reply=wire.AccessEntries, errors=(400,), summary="The last entries of the access log", tag="Access"),
        ]  # fmt: skip

    async def lists(self, call: Call) -> Reply:
        return self._shown(call, await self._addresses.lists())

    async def change_lists(self, call: Call) -> Reply:
        asked, now = call.body, await self._addresses.lists()
        allow = now.allow if asked.whitelist is UNSET else tuple(asked.whitelist)
        deny = now.deny if asked.blacklist is UNSET else tuple(asked.blacklist)
        changed = await self._addresses.change(AddressLists(allow, deny), call.client)
        self._say("console address lists", call, allow=len(changed.allow), deny=len(changed.deny))
        return self._shown(call, changed)

    def _shown(self, call: Call, lists: AddressLists) -> Reply:
        banned = [
            wire.Banned(ban.who, ban.until // SECOND)
            for ban in self._strikes.banned()
            if not ban.who.startswith("user ")
        ]
        return json_reply(wire.IpControl(True, list(lists.allow), list(lists.deny), banned, call.client))

    def _say(self, fact: str, call: Call, **fields: object) -> None:
        self._log.info(fact, user=call.principal.name, client=call.client, correlationId=call.correlation, **fields)

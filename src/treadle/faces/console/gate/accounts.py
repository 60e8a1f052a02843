"""What a logged-in user manages: bearer tokens and the second factor (contract 3.3, 3.5)."""

from treadle.core.access import Grant
from treadle.core.clock import MINUTE, SECOND
from treadle.core.errors import Denied, Fault, Invalid
from treadle.faces.console.errors import WrongCode
from treadle.faces.console.gate import wire
from treadle.faces.console.gate.door import Door
from treadle.faces.console.gate.parts import Parts
from treadle.faces.console.gate.sessions import ADMIN, LOGIN
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route

FRESH = 10 * MINUTE
"""A login this young proves as much as a password."""


class Accounts:
    """The routes under `/api/tokens` and `/api/2fa`."""

    def __init__(self, parts: Parts, door: Door) -> None:
        self._clock, self._log, self._door, self._users = parts.clock, parts.log, door, parts.users
        self._tokens, self._sessions, self._factor = parts.tokens, parts.sessions, parts.factor

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/api/tokens", handler=self.tokens, scope=ADMIN, reply=wire.TokenList,
                  summary="The stored bearer tokens, without their secrets", tag="Tokens"),
            Route(method="POST", path="/api/tokens", handler=self.add_token, scope=ADMIN, body=wire.TokenRequest,
                  reply=wire.TokenMade, errors=(400, 409), summary="Make or store a bearer token", tag="Tokens"),
            Route(method="DELETE", path="/api/tokens", handler=self.delete_token, scope=ADMIN, body=wire.TokenId,
                  reply=wire.Done, errors=(404,), summary="End a bearer token", tag="Tokens"),
            Route(method="GET", path="/api/2fa/status", handler=self.factor, scope=ADMIN, reply=wire.FactorStatus,
                  summary="Whether you have a second factor", tag="Second factor"),
            Route(method="POST", path="/api/2fa/setup", handler=self.set_up, scope=ADMIN, reply=wire.FactorSetUp,
                  errors=(409,), summary="Set up a second factor", tag="Second factor"),
            Route(method="POST", path="/api/2fa/enable", handler=self.enable, scope=ADMIN, body=wire.FactorCode,
                  reply=wire.FactorEnabled, errors=(400, 409), summary="Switch it on with a code",
                  tag="Second factor"),
            Route(method="POST", path="/api/2fa/disable", handler=self.disable, scope=ADMIN, body=wire.FactorProof,
                  reply=wire.Done, errors=(400,), summary="Take the second factor away", tag="Second factor"),
        ]  # fmt: skip

    async def tokens(self, _: Call) -> Reply:
        listed = [_token(grant) for grant in await self._tokens.listed()]
        return json_reply(wire.TokenList(True, listed, self._tokens.read_only))

    async def add_token(self, call: Call) -> Reply:
        asked: wire.TokenRequest = call.body
        user = call.principal.name
        if asked.action == "store":
            if not asked.token:
                raise Invalid(Fault("token", '"token" is required'))
            await self._tokens.store(user, asked.label, asked.token, asked.expires_in)
            self._say("console token stored", call)
            return json_reply(wire.TokenMade(True, None, True))
        made = await self._tokens.generate(user, asked.label, store=asked.persist, seconds=asked.expires_in)
        self._say("console token made", call)
        return json_reply(wire.TokenMade(True, made.token, made.stored))

    async def delete_token(self, call: Call) -> Reply:
        await self._tokens.delete(call.body.id)
        self._say("console token ended", call)
        return json_reply(wire.Done())

    async def factor(self, call: Call) -> Reply:
        found = await self._factor.of(call.principal.name)
        return json_reply(wire.FactorStatus(True, found is not None, len(found.codes) if found else 0))

    async def set_up(self, call: Call) -> Reply:
        made, uri = await self._factor.set_up(call.principal.name)
        return json_reply(wire.FactorSetUp(True, made.secret, uri, list(made.codes)))

    async def enable(self, call: Call) -> Reply:
        codes = await self._factor.enable(call.principal.name, call.body.code)
        self._say("console second factor on", call)
        return json_reply(wire.FactorEnabled(True, list(codes)))

    async def disable(self, call: Call) -> Reply:
        name, proof = call.principal.name, call.body
        if not await self._fresh(call):
            if not proof.code and not proof.password:
                raise Denied("Log in again first, or send a code or the password")
            who = f"user {name}"
            self._door.refuse(call, who)
            known = bool(proof.password) and await self._users.knows(name, proof.password)
            if not known and not await self._factor.take(name, proof.code):
                self._door.failed(call, who)
                raise WrongCode
            self._door.passed(who)
        await self._factor.remove(name)
        self._say("console second factor off", call)
        return json_reply(wire.Done())

    async def _fresh(self, call: Call) -> bool:
        session = await self._sessions.find(call)
        grant = session.grant if session else None
        return grant is not None and grant.kind == LOGIN and self._clock() - grant.created < FRESH

    def _say(self, fact: str, call: Call) -> None:
        self._log.info(fact, user=call.principal.name, client=call.client, correlationId=call.correlation)


def _token(grant: Grant) -> wire.Token:
    label = grant.data.get("label", "")
    expiry = None if grant.expires is None else grant.expires // SECOND
    return wire.Token(grant.id, grant.principal, str(label), grant.created // SECOND, expiry)

"""Logging in and out, making the first user, and the CSRF token (contract 2.1, 3.5)."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from treadle.core.access import PUBLIC, Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, Malformed, StoreUnavailable, TooMany
from treadle.faces.console.errors import NoCsrf
from treadle.faces.console.gate import pages, wire
from treadle.faces.console.gate.credentials import same
from treadle.faces.console.gate.door import Door
from treadle.faces.console.gate.parts import Parts
from treadle.faces.console.gate.sessions import FACE, SCOPES
from treadle.web.call import Call, Reply, json_reply
from treadle.web.pages import is_local, redirect
from treadle.web.rate import RateLimit, client_key
from treadle.web.routes import Route

A_MINUTE = 10
"""How often somebody may try to log in."""


class Login:
    """The public routes."""

    def __init__(self, parts: Parts, door: Door) -> None:
        self._options, self._clock, self._log, self._door = parts.options, parts.clock, parts.log, door
        self._users, self._tokens, self._sessions = parts.users, parts.tokens, parts.sessions
        self._csrf, self._factor = parts.csrf, parts.factor
        self._rate = RateLimit(A_MINUTE, 60)

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/api/csrf_token", handler=self.csrf_token, scope=PUBLIC, reply=wire.CsrfToken,
                  summary="The CSRF token of this session; starts one where there is none", errors=(500,), tag="Login"),
            _page("/login", self.show, "The login page"),
            _form("/login", partial(self.log_in, False), wire.LoginForm, "Log in"),
            _page("/login/recovery", self.show_recovery, "The login page for a recovery code"),
            _form("/login/recovery", partial(self.log_in, True), wire.LoginForm, "Log in with a recovery code"),
            _page("/logout", self.leave, "Log out by a link"),
            _form("/logout", self.log_out, wire.LogoutForm, "Log out"),
        ]  # fmt: skip

    async def csrf_token(self, call: Call) -> Reply:
        try:
            await self._door.admit(call)
            session, headers = await self._sessions.begin(call)
        except StoreUnavailable as error:  # the contract: an empty token says that there is none just now
            self._log.warning("no csrf token", reason=error.message, correlationId=call.correlation)
            return json_reply(wire.CsrfToken(False, ""), 500)
        return json_reply(wire.CsrfToken(True, self._csrf.token(session.id)), headers=headers)

    async def show(self, call: Call) -> Reply:
        await self._door.admit(call)
        session, headers = await self._sessions.begin(call)
        if session.grant is not None:
            return redirect(_way(call.query.next), 302, headers)
        return await self._form(call, "", call.query.next, "")

    async def show_recovery(self, call: Call) -> Reply:
        await self._door.admit(call)
        return await self._form(call, "", call.query.next, "", recovery=True)

    async def log_in(self, recovery: bool, call: Call) -> Reply:
        await self._door.admit(call)
        asked: wire.LoginForm = call.body
        window = self._rate.take(client_key(call.client), self._clock() / SECOND)
        if window.used > A_MINUTE:
            left = max(1, int(window.ends - self._clock() / SECOND))
            raise TooMany("Too many attempts to log in; wait a moment", retry_after=left)
        try:
            await self._door.check_csrf(call, asked.csrf_token)
        except NoCsrf:
            return await self._form(call, asked.username, asked.next, pages.STALE, recovery=recovery, status=401)
        name = await self._users.name()
        if name is None:
            problem = await self._make_first(call, asked)
        elif await self._proven(call, name, asked, recovery):
            problem = ""
        else:
            problem = pages.WRONG
        if problem:
            return await self._form(call, asked.username, asked.next, problem, recovery=recovery)
        user = name or asked.username
        headers = await self._sessions.log_in(call, user, remember=asked.remember not in ("", "0", "false"))
        call.principal = Principal(name=user, face=FACE, scopes=SCOPES)  # for the access log
        self._log.info("console login", user=user, client=call.client, correlationId=call.correlation)
        return redirect(_way(asked.next), 302, headers)

    async def leave(self, call: Call) -> Reply:
        """By a link. A page of another site cannot log anybody out this way."""
        if call.header("sec-fetch-site") in ("cross-site", "same-site"):
            return redirect("/", 302)
        return await self._left(call)

    async def log_out(self, call: Call) -> Reply:
        await self._door.admit(call)
        await self._door.check_csrf(call, call.body.csrf_token)
        return await self._left(call)

    async def _left(self, call: Call) -> Reply:
        await self._door.admit(call)
        return redirect("/login", 302, await self._sessions.log_out(call))

    async def _proven(self, call: Call, name: str, asked: wire.LoginForm, recovery: bool) -> bool:
        """Whether the form proves the user; what does not counts against the address, and a code against the user."""
        address, user = client_key(call.client), f"user {name}"
        if not await self._users.knows(asked.username, asked.password):
            self._wrong(call, address)
            return False
        if recovery or await self._factor.of(name) is not None:
            self._door.refuse(call, user)
            if not await self._factor.take(name, asked.totp_code):
                self._wrong(call, address, user)
                return False
            self._door.passed(user)
        self._door.passed(address)
        return True

    async def _make_first(self, call: Call, asked: wire.LoginForm) -> str:
        """Make the user; what speaks against it, in words."""
        if not await self._door.opens(call) and not await self._is_owner(asked.setup_code):
            self._wrong(call, client_key(call.client))
            return "The set-up code is not right."
        try:
            await self._users.create(asked.username, asked.password)
        except (Malformed, Conflict) as refused:
            return refused.message
        return ""

    async def _is_owner(self, code: str) -> bool:
        if not code:
            return False
        fits = bool(self._options.setup_code) and same(code, self._options.setup_code)
        return fits or await self._tokens.holder(code) is not None

    def _wrong(self, call: Call, *who: str) -> None:
        self._log.warning("console login failed", client=call.client, correlationId=call.correlation)
        for each in who:
            self._door.failed(call, each)

    async def _form(
        self, call: Call, username: str, next_: str, problem: str, *, recovery: bool = False, status: int = 200
    ) -> Reply:
        session, headers = await self._sessions.begin(call)
        token = self._csrf.token(session.id)
        if status == 401:
            headers = (*headers, (b"www-authenticate", b"Bearer"))
        if await self._users.name() is None:
            code = not await self._door.opens(call)
            content = pages.first_user(token, next_, username, problem, code=code)
            return pages.page("Make the first user", content, status=status, headers=headers)
        content = (pages.recovery if recovery else pages.login)(token, next_, username, problem)
        return pages.page("Log in to Treadle", content, status=status, headers=headers)


def _way(next_: str) -> str:
    """Where to go after the login: an address of this server, else `/`."""
    return next_ if is_local(next_) else "/"


def _page(path: str, handler: Callable[[Call], Awaitable[Reply]], summary: str) -> Route:
    return Route(
        method="GET", path=path, handler=handler, scope=PUBLIC, summary=summary, query=wire.LoginQuery,
        media_type="text/html", documented=False,
    )  # fmt: skip


def _form(path: str, handler: Callable[[Call], Awaitable[Reply]], body: Any, summary: str) -> Route:
    return Route(
        method="POST", path=path, handler=handler, scope=PUBLIC, summary=summary, body=body, form=True,
        media_type="text/html", documented=False,
    )  # fmt: skip

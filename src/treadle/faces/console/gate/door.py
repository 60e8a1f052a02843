"""Who calls: the order in which the Console looks at what a caller shows (contract 3.2), and the CSRF rule (3.4)."""

from urllib.parse import urlsplit

from treadle.core.access import Principal
from treadle.core.errors import Denied, Unauthenticated
from treadle.faces.console.errors import NoCsrf
from treadle.faces.console.gate.credentials import Basic, Bearer, shown
from treadle.faces.console.gate.parts import Parts
from treadle.faces.console.gate.sessions import ADMIN, FACE, USE, Session
from treadle.web.admission import SAFE_METHODS
from treadle.web.call import Call
from treadle.web.rate import client_key

ANONYMOUS = Principal(name=f"anonymous@{FACE}", face=FACE, scopes=(USE,))
"""Who comes to an open server without a credential; all of them are one."""


class Door:
    """Looks at a caller in this order; the first that applies decides.

    1. `/api/health` and the login pages are public routes: the application does not ask here.
    2. The address: one that the lists keep out is 403; one that is banned for a while is 429, but for this machine.
    3. A bearer token is valid, or it is 401, whatever cookies come with it.
    4. A name with a password is the web user's, or it is 401.
    5. The cookie of a login. 6. The cookie of an earlier one.
    7. On an open server anybody on this machine; elsewhere 401.

    Then, unless a bearer token was shown: a change needs the CSRF token of the caller's session (401 without), and what
    manages the server needs a page of its own origin (403 without).
    """

    def __init__(self, parts: Parts) -> None:
        self._options, self._porch, self._addresses, self._strikes = (
            parts.options, parts.porch, parts.addresses, parts.strikes
        )  # fmt: skip
        self._users, self._tokens, self._sessions = parts.users, parts.tokens, parts.sessions
        self._csrf, self._factor = parts.csrf, parts.factor

    async def admit(self, call: Call) -> None:
        """The second step alone, for routes that are public. Raises NotHere and TooMany."""
        await self._csrf.open()
        await self._addresses.check(call)
        self.refuse(call, client_key(call.client))

    async def authenticate(self, call: Call) -> Principal:
        """Who calls. Raises Unauthenticated, NoCsrf, Denied and TooMany."""
        await self.admit(call)
        credential = shown(call.headers.get(b"authorization"))
        if isinstance(credential, Bearer):
            return await self._by_token(call, credential)
        session = await self._sessions.find(call)
        principal = await self._by_password(call, credential) if credential else await self._by_session(call, session)
        route = call.route
        if route is not None:  # an unknown address is 404, whoever asks
            if call.method not in SAFE_METHODS:
                self._check(call, session, call.header("x-csrf-token"))
            if route.scope == ADMIN and not route.media_type.startswith("text/html"):  # to a page, any link may lead
                own_page(call)
        return principal

    async def check_csrf(self, call: Call, field: str) -> None:
        """For the public pages' own forms: the token comes in a field, or in the header. Raises NoCsrf."""
        self._check(call, await self._sessions.find(call), field or call.header("x-csrf-token"))

    async def closed(self) -> bool:
        """Whether a credential is needed: a token or a user is configured, or the settings say so."""
        options = self._options
        fixed = options.auth == "required" or bool(options.token or options.test_token)
        return fixed or await self._users.name() is not None

    async def opens(self, call: Call) -> bool:
        """Whether the caller may come without a credential."""
        return self._porch.local(call) and not await self.closed()

    def refuse(self, call: Call, who: str) -> None:
        """Before looking at a credential: who is banned is not heard, except on this machine. Raises TooMany."""
        if not self._porch.local(call):
            self._strikes.refuse(who)

    def failed(self, call: Call, who: str) -> None:
        """After a wrong credential: it counts; and a ban that was not looked at before is now. Raises TooMany."""
        if self._porch.local(call):
            self._strikes.refuse(who)
        self._strikes.failed(who)

    def passed(self, who: str) -> None:
        self._strikes.passed(who)

    async def _by_token(self, call: Call, shown: Bearer) -> Principal:
        holder = await self._tokens.holder(shown.token)
        if holder is None:
            self.failed(call, client_key(call.client))
            raise Unauthenticated("This token is not valid")
        self.passed(client_key(call.client))
        return holder

    async def _by_password(self, call: Call, shown: Basic) -> Principal:
        name = await self._users.name()
        if name is None:
            raise Unauthenticated("There is no web user, so a name and a password open nothing here")
        if not await self._users.knows(shown.name, shown.password):
            self.failed(call, client_key(call.client))
            raise Unauthenticated("The user name or the password is not right")
        if await self._factor.of(name) is not None:
            raise Unauthenticated("This user has a second factor: log in on the page, or use a token")
        self.passed(client_key(call.client))
        return Principal(name=name, face=FACE, scopes=(USE,))

    async def _by_session(self, call: Call, session: Session | None) -> Principal:
        if session is not None and session.grant is not None:
            return session.grant.opens_for()
        if not await self.opens(call):
            raise Unauthenticated("Log in, or send `Authorization: Bearer TOKEN`")
        if call.route is not None and call.route.scope == ADMIN:
            raise Unauthenticated("Only a logged-in user manages this server: make one at /login")
        return ANONYMOUS

    def _check(self, call: Call, session: Session | None, token: str | None) -> None:
        if session is None or not token or not self._csrf.fits(token, session.id):
            raise NoCsrf


def own_page(call: Call) -> None:
    """Raises Denied unless the request comes from a page of this origin, as far as browsers tell.

    They name an origin with every change; with a reading one they may name nothing, and that is let through: no other
    origin can read the answer.
    """
    own = f"{call.scheme}://{call.host}".lower()
    origin, site, referer = call.header("origin"), call.header("sec-fetch-site"), call.header("referer")
    if origin is not None:
        fine = origin.lower() == own
    elif site is not None:
        fine = site == "same-origin" or (site == "none" and call.method in SAFE_METHODS)
    elif referer is not None:
        fine = _origin_of(referer) == own
    else:
        fine = call.method in SAFE_METHODS
    if not fine:
        raise Denied("Only pages of this server may manage it: send its own Origin or Referer")


def _origin_of(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()

"""Logins: a session is a grant of this face, for one agent name and one project (contract 3)."""

from msgspec import UNSET, Struct, json
from msgspec.structs import replace

from treadle.core.access import PUBLIC, Grant, Principal
from treadle.core.clock import SECOND
from treadle.core.errors import Denied, Fault, Invalid, Malformed, NotFound, Unauthenticated
from treadle.core.fabric import Fabric
from treadle.faces.taskdriver import spelling, wire
from treadle.faces.taskdriver.asked import Login, SessionChange
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.metrics import Meter
from treadle.faces.taskdriver.spelling import FACE
from treadle.web.call import Call, Reply
from treadle.web.routes import Route

SESSION = "session"
OWN, READ, MANAGE, SUBMIT, WORK = "session:own", "queue:read", "queue:manage", "queue:submit", "queue:claim"
QUEUE_SCOPES = (READ, MANAGE, SUBMIT, WORK)
SCOPES = (OWN, *QUEUE_SCOPES)
"""All that a login opens; one made with a key opens what the key does."""

LARGEST_DATA = 64 * 1024
"""Bytes of JSON that a session may keep for its client."""


class Access(Struct, frozen=True):
    """Who gets in: whether a login needs a key, whether a request needs a login, and how long one lasts (µs)."""

    key_required: bool = False
    login_required: bool = True
    lifetime: int = 3600 * SECOND


class Sessions:
    """Logs in and out, knows who asks, shows and changes the session that asks."""

    def __init__(self, fabric: Fabric, answer: Envelope, meter: Meter, access: Access) -> None:
        self._fabric, self._answer, self._meter, self._access = fabric, answer, meter, access
        self._anonymous = Principal(f"anonymous@{FACE}", FACE, SCOPES)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/api/auth/login", handler=self.login, scope=PUBLIC, tag="Sessions",
                  summary="Log in as an agent", body=Login, reply=wire.Success[wire.LoggedIn], errors=(401,),
                  form=True),
            Route(method="POST", path="/api/auth/logout", handler=self.logout, scope=OWN, tag="Sessions",
                  summary="End this session", reply=wire.Success[wire.Message]),
            Route(method="GET", path="/api/auth/session", handler=self.show, scope=OWN, tag="Sessions",
                  summary="This session", reply=wire.Success[wire.SessionInfo], errors=(404,)),
            Route(method="PUT", path="/api/auth/session", handler=self.change, scope=OWN, tag="Sessions",
                  summary="Prolong this session, or replace its data", body=SessionChange,
                  reply=wire.Success[wire.SessionInfo], errors=(404,), form=True),
        ]  # fmt: skip

    async def authenticate(self, call: Call) -> Principal:
        """Who asks: the holder of the Bearer token; an anonymous caller if none was sent and no login is required."""
        if not self._access.login_required and b"authorization" not in call.headers:
            return self._anonymous
        return (await self._grant(call)).opens_for()

    async def _grant(self, call: Call) -> Grant:
        sent = call.headers.get(b"authorization")
        if sent is None:
            raise Unauthenticated("Authentication required: send the header Authorization: Bearer <token>")
        if not sent.startswith(b"Bearer "):
            raise Unauthenticated("The Authorization header must be: Bearer <token>")
        grant = await self._fabric.grants.check(sent[7:].strip().decode("latin-1"))
        if grant is None or grant.kind != SESSION or grant.face != FACE:
            raise Unauthenticated("The session has ended or the token is not valid; log in again")
        return grant

    async def login(self, call: Call) -> Reply:
        try:
            grant, token, resumed = await self._login(call, call.body)
        except Exception as error:
            self._meter.login_failed(error)
            raise
        if not resumed:
            self._meter.sessions_created += 1
        shown = spelling.session(grant, self._fabric.grants.last_used(grant))
        return self._answer(wire.LoggedIn(shown.id, token, shown.expiresAt, token, resumed, shown))

    async def _login(self, call: Call, body: Login) -> tuple[Grant, str, bool]:
        """The session, its secret, and whether it was there before."""
        if not body.agentName or not body.projectId:
            raise Malformed("agentName and projectId are required")
        scopes = await self._opened_by_key(call)
        try:
            project = (await self._fabric.projects.get(body.projectId)).project
        except NotFound as unknown:
            raise Malformed(unknown.message) from None
        if body.resumeExisting:
            resumed = await self._resumed(body.agentName, project.id, scopes)
            if resumed is not None:
                return (*resumed, True)
        opened = await self._fabric.grants.open(
            kind=SESSION,
            principal=body.agentName,
            face=FACE,
            scopes=scopes,
            project=project.id,
            lifetime=self._access.lifetime,
            alone=not body.allowMultipleSessions,
        )
        return (*opened, False)

    async def _opened_by_key(self, call: Call) -> tuple[str, ...]:
        """The scopes that this login may open."""
        if not self._access.key_required:
            return SCOPES
        key = call.header("x-api-key")
        if key is None:
            raise Unauthenticated("A key is required to log in: send it in the header X-API-Key")
        grant = await self._fabric.grants.check(key.strip())
        if grant is None or grant.kind == SESSION:
            raise Unauthenticated("The key is not valid")
        holder = grant.opens_for()
        scopes = tuple(scope for scope in QUEUE_SCOPES if holder.holds(scope))
        if not scopes:
            raise Denied("This key does not open the queue")
        if grant.project is not None:  # the document confines no session to its project, so this key would open all
            raise Denied("This key opens one project only; a session here is not confined to a project")
        return (OWN, *scopes)

    async def _resumed(self, agent: str, project: str, scopes: tuple[str, ...]) -> tuple[Grant, str] | None:
        """The agent's most recently used session, prolonged, with one more token; None if it has none to go on with."""
        grants = self._fabric.grants
        latest = await grants.latest(kind=SESSION, principal=agent, project=project)
        if latest is None or not set(latest.scopes) <= set(scopes):
            return None
        now = self._fabric.clock()
        until = max(latest.expires or 0, now + self._access.lifetime)
        try:
            grant = await grants.change(latest, lambda same: replace(same, used=now, expires=until))
        except NotFound:  # it was closed in between
            return None
        return grant, await grants.add_secret(grant)

    async def logout(self, call: Call) -> Reply:
        if call.principal.grant is not None:
            grant = await self._grant(call)
            await self._fabric.grants.close(grant)
            self._meter.session_seconds.observe((self._fabric.clock() - grant.created) / SECOND)
        return self._answer.message("Logged out")

    async def show(self, call: Call) -> Reply:
        return await self._info(await self._grant(call))

    async def change(self, call: Call) -> Reply:
        body: SessionChange = call.body
        grant = await self._grant(call)
        if body.extendBy is UNSET and body.data is UNSET:
            return await self._info(grant)
        if body.data is not UNSET and len(json.encode(body.data)) > LARGEST_DATA:
            raise Invalid(Fault("data", f'"data" must not be longer than {LARGEST_DATA} bytes of JSON'))

        def rule(same: Grant) -> Grant:
            if body.data is not UNSET:
                same = replace(same, data=body.data)
            if body.extendBy is not UNSET:
                same = replace(same, expires=max(now, same.expires or 0) + body.extendBy * SECOND)
            return same

        now = self._fabric.clock()
        return await self._info(await self._fabric.grants.change(grant, rule))

    async def _info(self, grant: Grant) -> Reply:
        project = await self._fabric.projects.get(grant.project or "")
        return self._answer(spelling.session_info(grant, self._fabric.grants.last_used(grant), project))

"""Who gets in: everybody on loopback, or with a key set whoever shows it or the server's own (spec 2.5)."""

import secrets

from treadle.core.access import Principal
from treadle.core.errors import Unauthenticated
from treadle.core.fabric import Fabric
from treadle.faces.ufo.options import Options
from treadle.web.call import Call

FACE = "ufo"
DISPATCH, READ, CONNECT = "devices:dispatch", "devices:read", "devices:connect"
SCOPES = ("devices:*",)
ANONYMOUS = Principal(name=f"anonymous@{FACE}", face=FACE, scopes=SCOPES)
HOLDER = Principal(name=f"key@{FACE}", face=FACE, scopes=SCOPES)
"""Whoever shows the key that is set."""
OWNER_FACE = "fabric"
"""The face whose keys count here too, as far as their rights go: the local key is one."""


class Gate:
    """Says who calls."""

    def __init__(self, fabric: Fabric, options: Options) -> None:
        self._grants = fabric.grants
        self._key = options.api_key.encode()
        self._health_open = options.health_open
        self.required = bool(options.api_key) or options.auth == "required"

    async def authenticate(self, call: Call) -> Principal:
        """Raises Unauthenticated. A socket may show its key in its address, as stock clients can do nothing else."""
        if not self.required:
            return ANONYMOUS
        key = call.header("x-api-key") or call.token or _bearer(call)
        if not key:
            raise Unauthenticated("An API key is needed here: send it in the header X-API-Key")
        if self._key and secrets.compare_digest(key.encode(), self._key):
            return HOLDER
        grant = await self._grants.check(key)
        if grant is None or grant.face != OWNER_FACE or grant.project is not None:
            raise Unauthenticated("Invalid API key")
        return grant.opens_for()

    async def admit_probe(self, call: Call) -> None:
        """As `authenticate`, where health is not open."""
        if self.required and not self._health_open:
            await self.authenticate(call)


def _bearer(call: Call) -> str:
    scheme, _, key = (call.header("authorization") or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""

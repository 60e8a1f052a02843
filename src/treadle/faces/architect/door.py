"""Who may connect: the credentials of the handshake, the bans, and the limits on connections (spec 2)."""

import base64
import binascii
from collections.abc import Iterable

from msgspec import Struct

from treadle.core.access import Principal
from treadle.core.errors import FabricError
from treadle.core.fabric import Fabric
from treadle.faces.architect.bans import Bans
from treadle.faces.architect.conduct import Conducting
from treadle.faces.architect.errors import Banned, Crowded, NotLetIn
from treadle.faces.architect.events import fact
from treadle.faces.architect.frames import PROTOCOL
from treadle.faces.architect.options import FACE, Options
from treadle.faces.architect.roles import ROOT
from treadle.faces.architect.telling import Telling
from treadle.faces.architect.users import Users
from treadle.web.call import Call
from treadle.web.log import Log
from treadle.web.rate import client_key

CONNECT = "architect:connect"
"""The scope of the socket itself; everybody who logs in has it."""
_HEADER = b"sec-websocket-protocol"
_LONGEST = 4096


class Shown(Struct, frozen=True):
    """A user name and a password, as a handshake shows them."""

    name: str
    password: str


class Door:
    """Looks at a handshake in this order: the ban, the number of connections, the credentials, those of this user.

    Nothing of the credentials is said to anybody: not in the log, not in the answer, not in an event.
    """

    def __init__(
        self,
        fabric: Fabric,
        options: Options,
        users: Users,
        bans: Bans,
        conducting: Conducting,
        telling: Telling,
        log: Log,
    ) -> None:
        self._fabric, self._options, self._log = fabric, options, log
        self._users, self._bans, self._conducting, self._telling = users, bans, conducting, telling

    async def authenticate(self, call: Call) -> Principal:
        """Who connects. Raises Banned, Crowded and NotLetIn."""
        await self._users.open()
        self._refuse_banned(call)
        if len(self._telling.sessions) >= self._options.most_connections:
            raise Crowded
        header = [value.decode("latin-1") for name, value in call.header_list if name == _HEADER]
        shown = credentials(header, call.header("authorization"))
        if shown is None:
            raise NotLetIn
        remote_root = self._conducting.now.disable_remote_root and shown.name == ROOT and not _local(call)
        knows = await self._users.knows(shown.name, shown.password)
        self._refuse_banned(call)  # many may have been tried at once
        if not knows or remote_root:
            await self._failed(call)
            raise NotLetIn
        self._bans.passed(call.client)
        if self._telling.count(shown.name) >= self._options.most_per_user:
            raise Crowded
        return Principal(name=shown.name, face=FACE, scopes=(CONNECT,))

    def _refuse_banned(self, call: Call) -> None:
        left = self._bans.left(call.client)
        if left:
            raise Banned(left)

    async def _failed(self, call: Call) -> None:
        address = client_key(call.client)
        self._log.info("architect login refused", client=call.client, correlationId=call.correlation)
        await self._telling.say(self._telling.live("auth.failed", "ban:list", address=address))
        if self._bans.failed(call.client):
            seconds = self._bans.left(call.client)
            self._log.warning("architect address banned", client=call.client, seconds=seconds)
            banned = fact("auth.banned", address, self._fabric.clock(), seconds=seconds)
            try:
                await self._fabric.store.write(lambda tx: tx.append_events([banned]))
            except FabricError as error:  # the ban holds all the same
                self._log.warning("a ban could not be noted", reason=error.message)


def credentials(lines: Iterable[str], authorization: str | None) -> Shown | None:
    """The credentials in the lines of a sub-protocol header, or beside `SMP1.0` alone in a Basic one; None for none."""
    words = [word.strip(" \t") for line in lines for word in line.split(",")]
    if words == [PROTOCOL]:
        return _basic(authorization)
    if len(words) != 3 or words[0] != PROTOCOL or not words[1] or not words[2]:
        return None
    return Shown(words[1], words[2])


def _basic(header: str | None) -> Shown | None:
    scheme, _, rest = (header or "").strip().partition(" ")
    if scheme.lower() != "basic" or len(rest) > _LONGEST:
        return None
    try:
        name, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (UnicodeDecodeError, binascii.Error):
        return None
    return Shown(name, password) if colon and name and password else None


def _local(call: Call) -> bool:
    address = client_key(call.client)
    return address.startswith("127.") or call.client == "::1"

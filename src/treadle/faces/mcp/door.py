"""The address of the MCP server: rows for the listener's own registry, so hosts, origins, keys and limits are its.

Nothing is kept between two requests: a session is a name that `initialize` hands out and the client shows again, so
a restart or another replica ends none. That name is the caller's conversation.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from treadle.core.actions import Action, Caller, Prompt
from treadle.core.fabric import Fabric
from treadle.web.call import Call, Reply
from treadle.web.routes import Route

from .about import About

if TYPE_CHECKING:
    from .server import Server

PATH = "/mcp"
SCOPE = "queue:read"
"""The right to speak MCP at all, the least that any action asks for; each asks for its own besides."""
SESSION = b"mcp-session-id"
_NAME = re.compile(rb"[\x21-\x7e]{1,128}\Z")


class _Head(Struct):
    """The one part of a message that is looked at before the SDK reads it."""

    method: str = ""


class Door:
    """Hands requests to the SDK's server, which is made for the first of them."""

    def __init__(self, make: "Callable[[], Server]", ids: Callable[[], str]) -> None:
        self._make, self._ids = make, ids
        self._server: Server | None = None
        self._making = asyncio.Lock()

    async def post(self, call: Call) -> Reply:
        """One JSON-RPC message; the answer to `initialize` names the session."""
        server = self._server or await self._made()
        body = await call.read()
        reply = await server.answer(call, body, Caller(call.principal, conversation(call)))
        if reply.status == 200 and SESSION not in call.headers and _opens(body):
            reply.headers = (*reply.headers, (SESSION, self._ids().encode()))
        return reply

    async def delete(self, call: Call) -> Reply:
        """The client says that it will not come back; there is nothing to clear away."""
        return Reply(204)

    async def _made(self) -> "Server":
        async with self._making:
            if self._server is None:
                self._server = await asyncio.to_thread(self._make)  # the import would hold up everybody else
            return self._server


def conversation(call: Call) -> str | None:
    """The session that the request names, if it is a name as MCP allows it."""
    given = call.headers.get(SESSION)
    return given.decode("ascii") if given is not None and _NAME.match(given) else None


def routes(
    fabric: Fabric, actions: Sequence[Action], prompts: Sequence[Prompt], about: About, *, scope: str = SCOPE
) -> list[Route]:
    """The rows to add to a listener; `scope` is the right that its callers need for speaking MCP at all."""

    def make() -> "Server":
        from .server import Server

        return Server(fabric, actions, prompts, about)

    door = Door(make, fabric.ids)
    return [  # what is said here is JSON-RPC, which OpenAPI has no words for
        Route(method="POST", path=PATH, handler=door.post, scope=scope, summary="Speak MCP", documented=False),
        Route(method="DELETE", path=PATH, handler=door.delete, scope=scope, summary="End a session", documented=False),
    ]


def _opens(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=_Head).method == "initialize"
    except msgspec.MsgspecError:
        return False

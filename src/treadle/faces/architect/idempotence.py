"""Replies that are kept for a while, so that a request sent twice is done once (spec 3.3)."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from treadle.core.clock import MINUTE
from treadle.faces.architect.errors import Conflicting
from treadle.faces.architect.frames import Outcome, Request, failure

KEPT = 10 * MINUTE
MOST = 1000
MOST_BYTES = 8 * 1024 * 1024


class _Entry(Struct):
    content: bytes
    done: asyncio.Future[Outcome]
    at: int = 0
    size: int = 0


class Replies:
    """The replies to changing requests by user and token, in memory, bounded for each user."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._users: dict[str, dict[str, _Entry]] = {}  # the finished ones in the order in which they finished

    async def once(self, user: str, request: Request, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome of the work, which is done unless this user's token was answered before, or is being worked on.

        Raises Conflicting where the token stood for something else.
        """
        if request.token is None:
            return await work()
        entries = self._users.setdefault(user, {})
        self._forget(user, self._clock())
        content = fingerprint(request)
        found = entries.get(request.token)
        if found is not None:
            if found.content != content:
                raise Conflicting
            return replace(await asyncio.shield(found.done), replayed=True)
        entry = _Entry(content, asyncio.get_running_loop().create_future())
        entries[request.token] = entry
        self._users[user] = entries
        try:
            outcome = await work()
        except BaseException:
            del entries[request.token]
            entry.done.set_result(failure("internal", "The first request with this token came to no end"))
            raise
        entry.done.set_result(outcome)
        del entries[request.token]
        if outcome.keep:
            entry.at, entry.size = self._clock(), len(msgspec.json.encode(outcome.parameters))
            entries[request.token] = entry  # at the end: it is the youngest
        self._forget(user, self._clock())
        return outcome

    def _forget(self, user: str, now: int) -> None:
        """Drops what is too old or too much; what still runs stays."""
        entries = self._users[user]
        finished = [(token, entry) for token, entry in entries.items() if entry.at]
        size = sum(entry.size for _, entry in finished)
        for place, (token, entry) in enumerate(finished):
            if now - entry.at < KEPT and len(finished) - place <= MOST and size <= MOST_BYTES:
                break
            size -= entry.size
            del entries[token]

    def tidy(self) -> None:
        """Forgets users of whom nothing is kept any more."""
        now = self._clock()
        for user in list(self._users):
            self._forget(user, now)
            if not self._users[user]:
                del self._users[user]


def fingerprint(request: Request) -> bytes:
    """What two requests share that ask for the same."""
    body = msgspec.json.encode((request.action, request.parameters), order="deterministic")
    return hashlib.blake2b(body, digest_size=16).digest()

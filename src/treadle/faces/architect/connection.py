"""One client's side of the protocol as a screenplay: what it said goes in, what has to be done comes out (spec 3).

Nothing here sends, waits or looks at a clock; instants are seconds of a clock that never goes back. The promise kept
here is that of one reply for each token: a request that is repeated while it runs is answered by that one reply.
"""

from msgspec import Struct

from treadle.faces.architect.frames import Outcome, Request, Unreadable, decode, event, failure, reply
from treadle.faces.architect.idempotence import fingerprint

BINARY, POLICY, FLOOD = 1003, 1008, 4429
RATE, BURST = 50, 100
"""Requests in a second, and how many may come at once."""
FLOODED = 200
"""A client that goes so many frames beyond its rate is closed."""
IN_FLIGHT = 32
MISTAKES, WITHIN = 20, 60.0
"""So many unreadable frames in so many seconds close the connection."""


class Say(Struct, frozen=True):
    """Send this."""

    frame: bytes


class Perform(Struct, frozen=True):
    """Do what was asked for, and give the outcome to `finished` under this number."""

    number: int
    request: Request


class Close(Struct, frozen=True):
    """Close the socket once everything was said."""

    code: int
    reason: str


Effect = Say | Perform | Close


class Peer:
    """A client from the handshake on. `now` is in seconds, `date` (of an event for it alone) in UNIX seconds."""

    def __init__(self, now: float) -> None:
        self._running: dict[int, Request] = {}
        self._tokens: dict[str, bytes] = {}
        self._numbers = 0
        self._budget, self._looked = float(BURST), now
        self._mistakes: list[float] = []
        self._leaving = self._closed = False

    @property
    def in_flight(self) -> int:
        return len(self._running)

    def received(self, message: str | bytes, now: float, date: int) -> list[Effect]:
        """What a message leads to."""
        if self._closed:
            return []
        if isinstance(message, bytes):
            return self._close(BINARY, "frames are text")
        self._budget = min(float(BURST), self._budget + (now - self._looked) * RATE) - 1
        self._looked = now
        if self._budget < -FLOODED:
            return self._close(FLOOD, "too many requests")
        request = decode(message)
        if isinstance(request, Unreadable):
            return self._mistake(request, now, date)
        if request.token is not None and request.token in self._tokens:
            return self._again(request, date)
        refused = self._refusal()
        if refused is None:
            self._numbers += 1
            self._running[self._numbers] = request
            if request.token is not None:
                self._tokens[request.token] = fingerprint(request)
            return [Perform(self._numbers, request)]
        return [Say(reply(request, refused))]

    def finished(self, number: int, outcome: Outcome) -> list[Effect]:
        """The reply to a request, unless it was answered already."""
        request = self._running.pop(number, None)
        if request is None:
            return []
        if request.token is not None:
            del self._tokens[request.token]
        return [Say(reply(request, outcome))]

    def leave(self) -> list[Effect]:
        """The agent stops: what still runs is answered now, and nothing more is begun (spec 3.1.8)."""
        self._leaving = True
        stopping = failure("shutting_down", "The agent is stopping")
        return [effect for number in list(self._running) for effect in self.finished(number, stopping)]

    def close(self) -> None:
        """Whatever comes from now on is not heard."""
        self._closed = True

    def _refusal(self) -> Outcome | None:
        """Why a request is not begun."""
        if self._leaving:
            return failure("shutting_down", "The agent is stopping")
        if self._budget < 0:
            wait = round(-self._budget / RATE, 2)
            return failure("rate_limited", f"At most {RATE} requests a second", limit=RATE, retry_after=wait)
        if len(self._running) >= IN_FLIGHT:
            told = f"At most {IN_FLIGHT} requests at a time"
            return failure("limit_exceeded", told, limit=IN_FLIGHT, retry_after=0.1)
        return None

    def _again(self, request: Request, date: int) -> list[Effect]:
        """A token whose reply is still to come: a second reply would break clients (spec 3.1.1)."""
        assert request.token is not None
        if self._tokens[request.token] == fingerprint(request):
            return []
        told = {"error": "idempotence_conflict", "message": "This token's first request is still running",
                "token": request.token}  # fmt: skip
        return [Say(event("protocol.error", date, told))]

    def _mistake(self, frame: Unreadable, now: float, date: int) -> list[Effect]:
        self._mistakes = [at for at in self._mistakes if now - at < WITHIN] + [now]
        if frame.token is not None and frame.token not in self._tokens:
            said = reply(frame, failure(frame.code, frame.message))
        else:
            said = event("protocol.error", date, {"error": frame.code, "message": frame.message})
        ended = self._close(POLICY, "too many unreadable frames") if len(self._mistakes) >= MISTAKES else []
        return [Say(said), *ended]

    def _close(self, code: int, reason: str) -> list[Effect]:
        self.close()
        return [Close(code, reason)]

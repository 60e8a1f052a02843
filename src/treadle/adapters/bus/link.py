"""One connection to a NATS server, from its handshake to its loss. It never comes back: the bus makes a new one.

nats-py's own reconnecting is not used: it sends what was meant for the lost connection, and gives up for good on some
errors of the server.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from treadle.core.errors import FabricError, Unanswered, Unreachable

from .address import BusAddress
from .credentials import public_key, signature
from .messages import Report, read

Received = Callable[[Msg], Awaitable[None]]

CONNECT_SECONDS = 5.0
"""How long one attempt at one server may take, the handshakes included."""

PING_SECONDS, PINGS_UNANSWERED = 2, 2
"""A server that vanished without a word is noticed within three pings."""

CLOSE_SECONDS, DROP_SECONDS = 2.0, 0.1
"""How long to wait for the end of a connection that stands, and of one that does not."""

LOOK_SECONDS = 1.0
"""How often we look whether the connection is there still, should nats-py not tell."""

OUTCOME = "Treadle-Outcome"
"""The header of a reply that is no answer: FAILED or GONE."""
FAILED, GONE = "failed", "gone"

ANSWERED_BY_NOBODY = "503"


class KeyedClient(Client):
    """A client that shows a public nkey besides its signature; nats-py itself does so only with a further package."""

    def __init__(self, public: str | None) -> None:
        super().__init__()
        self._public_nkey = public


class Link:
    """A connection that stands. `name` is who we are: it is in the subject of every answer to us."""

    def __init__(self, client: Client, inbox: str, report: Report) -> None:
        self._client, self._report = client, report
        self._inbox = f"{inbox}.{secrets.token_hex(8)}"
        self._tokens = count()
        self._waiting: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        self._lost = asyncio.Event()

    @classmethod
    async def open(cls, address: BusAddress, name: str, report: Report) -> "Link":
        """Connects to the first server that takes us. Raises FabricError, with one clear line."""
        whys = []
        for server in address.servers:
            try:
                return await cls._open(address, server, name, report)
            except (OSError, ValueError, nats.errors.Error) as error:
                whys.append(_plain(error))
        raise Unreachable(f"The bus {address.shown} cannot be reached: {'; '.join(dict.fromkeys(whys))}")

    @classmethod
    async def _open(cls, address: BusAddress, server: str, name: str, report: Report) -> "Link":
        who = address.credentials()
        seed, jwt = who.seed, who.jwt
        client = KeyedClient(public_key(seed) if seed and not jwt else None)
        link = cls(client, f"_INBOX_{name}", report)
        told: list[Exception] = []

        async def failed(error: Exception) -> None:
            if link is connected:
                link._on_error(error)
            else:
                told.append(error)

        async def lost() -> None:
            await link._on_lost()

        connected: Link | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    [server],
                    name=name,
                    error_cb=failed,
                    disconnected_cb=lost,
                    allow_reconnect=False,  # while connecting; see below
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=2,
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=PINGS_UNANSWERED,
                    tls=address.tls,
                    tls_handshake_first=address.tls is not None,  # else a stranger in the middle turns TLS off
                    user=who.user,
                    password=who.password,
                    token=who.token,
                    signature_cb=(lambda nonce: signature(seed, nonce)) if seed else None,
                    user_jwt_cb=jwt.encode if jwt else None,
                )
            if not client.is_connected:
                raise nats.errors.ConnectionClosedError
            connected = link
            client.options["allow_reconnect"] = True  # a loss then leaves what is pending alone and tells us
            await link.subscribe(f"{link._inbox}.*", link._on_answer)
        except nats.errors.NoServersError:
            raise told[-1] if told else nats.errors.NoServersError() from None
        finally:
            if connected is None:
                await link.close()
        return link

    @property
    def largest(self) -> int:
        """Bytes of a message that the server takes."""
        return self._client.max_payload

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    @property
    def why(self) -> str:
        """What the server said when it ended the connection, if it said anything."""
        return _plain(self._client.last_error) if self._client.last_error else ""

    async def lost(self) -> None:
        """Returns once the connection is gone."""
        while not self._lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lost.wait()
            if not self._client.is_connected:
                self.lose()

    def lose(self) -> None:
        """Everybody who waits for an answer is told that none comes."""
        self._lost.set()
        for spelling, answer in self._waiting.values():
            if not answer.done():
                why = f"The bus was lost before {read(spelling)} answered; whether it was done is not known"
                answer.set_exception(Unanswered(why))

    async def say(self, subject: str, payload: bytes, *, reply: str = "", outcome: str | None = None) -> None:
        """Raises Unreachable where the connection is gone."""
        try:
            if self._lost.is_set():
                raise nats.errors.ConnectionClosedError
            await self._client.publish(subject, payload, reply, {OUTCOME: outcome} if outcome else None)
        except (nats.errors.Error, OSError) as error:
            raise Unreachable(f"The bus is lost: {_plain(error)}") from None

    async def ask(self, spelling: str, payload: bytes, seconds: float) -> bytes:
        """The answer to a request. Raises Unreachable, Unanswered."""
        subject = read(spelling)
        token = str(next(self._tokens))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_seen)
        self._waiting[token] = (spelling, answer)
        try:
            await self.say(spelling, payload, reply=f"{self._inbox}.{token}")
            async with asyncio.timeout(seconds):
                said = await answer
        except TimeoutError:
            raise Unanswered(
                f"No answer from {subject} within {round(seconds, 2):g} s; whether it was done is not known"
            ) from None
        finally:
            del self._waiting[token]
            answer.cancel()
        headers = said.headers
        if headers:
            if headers.get("Status") == ANSWERED_BY_NOBODY or headers.get(OUTCOME) == GONE:
                raise Unreachable(f"Nobody serves {subject}")
            if headers.get(OUTCOME) == FAILED:
                raise Unanswered(f"Who serves {subject} failed or stopped; whether it was done is not known")
        return bytes(said.data)

    async def subscribe(self, subject: str, received: Received, queue: str = "") -> Subscription:
        return await self._client.subscribe(subject, queue, received)

    async def confirm(self) -> None:
        """Returns when the server has taken all that was said so far."""
        await self._client._flush_pending(force_flush=True)  # else nats-py's ping overtakes what waits to be sent
        await self._client.flush()

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Returns when what was on its way here has been received, and no more comes."""
        await self._client._send_unsubscribe(subscription._id)
        await self.confirm()
        await subscription._pending_queue.join()
        await subscription.unsubscribe()

    async def close(self) -> None:
        """Sends what is pending if the connection stands, and lets go of it."""
        self.lose()
        try:
            async with asyncio.timeout(CLOSE_SECONDS if self._client.is_connected else DROP_SECONDS):
                await self._client.close()
        except (nats.errors.Error, OSError, RuntimeError, TimeoutError):
            # RuntimeError is what uvloop says of a transport that is closed.
            # nats-py stops in the middle where the last bytes cannot be sent; what it left is ended here.
            for subscription in list(self._client._subs.values()):
                subscription._stop_processing()
            if self._client._transport is not None:
                self._client._transport.close()  # type: ignore[no-untyped-call]

    async def _on_answer(self, said: Msg) -> None:
        _, answer = self._waiting.get(said.subject.rpartition(".")[2], (None, None))
        if answer is not None and not answer.done():
            answer.set_result(said)

    async def _on_lost(self) -> None:
        self.lose()
        if not self._client.is_closed:
            await asyncio.Event().wait()  # here nats-py would begin to reconnect; close() ends this wait

    def _on_error(self, error: Exception) -> None:
        said = str(error)
        if isinstance(error, (nats.errors.UnexpectedEOF, OSError)):
            return  # the loss is told otherwise
        self._report(f"The bus complains: {said}", None if "permissions violation" in said else error)
        for spelling, answer in self._waiting.values():
            # nats-py hands the server's words on in lower case
            if f'permissions violation for publish to "{spelling.lower()}"' in said and not answer.done():
                answer.set_exception(Unreachable(f"The bus does not let us ask {read(spelling)}"))


def _seen(answer: asyncio.Future[Msg]) -> None:
    """An answer that nobody waits for any more may be an error."""
    if not answer.cancelled():
        answer.exception()


def _plain(error: BaseException) -> str:
    """What went wrong, on one line."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, FabricError):
        return error.message
    said = (error.strerror or (error.args[-1] if error.args else "")) if isinstance(error, OSError) else error
    text = str(said) or type(error).__name__
    return " ".join(text.removeprefix("nats: ").split())

"""The bus between machines: hints and requests over NATS, on a connection that is made anew whenever it is lost.

What shall be heard and served is kept here and told to each new connection; then every listener is told once to look,
because hints may have passed meanwhile.
"""

import asyncio
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import NoneType
from typing import Self

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from treadle.core.errors import FabricError, Unreachable
from treadle.core.ports import Answer

from .address import BusAddress, BusUnusable
from .link import CONNECT_SECONDS, FAILED, GONE, Link
from .local import LocalListener
from .messages import LARGEST, Report, fitting, read, spelled, spelled_served, to_log

HINT = "hint."
"""What the subjects of hints begin with."""

QUEUE = "treadle"
"""The group in which all servers of a subject share its requests."""

DESK = "desk"
"""The first word of subjects that carry in the second who asks; the answer goes to the inbox of that name only."""

RETRY_FIRST, RETRY_MOST = 0.05, 1.0
"""Seconds between attempts to come back."""

MOST_HINTS = 10_000
"""Topics of which hints wait for a lost connection; beyond that those who wait look by themselves, slowly."""

CLOSED = "This bus is closed"
SPELLABLE = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch


class Topic:
    """Those of this process who listen to one topic."""

    def __init__(self, name: str) -> None:
        self.subject = HINT + spelled(name)
        self.listeners: set[LocalListener] = set()

    @property
    def wanted(self) -> bool:
        return bool(self.listeners)

    def tell(self) -> None:
        for listener in self.listeners:
            listener.tell()


class Service:
    """One who serves a subject in this process, and the answers it is at work on."""

    def __init__(self, subject: str, answer: Answer) -> None:
        self.subject = spelled_served(subject)
        self.answer = answer
        self.wanted = True
        self.at_work: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        self.wanted = False
        for task in self.at_work:
            task.cancel()


class NatsBus:
    """Hints and requests over NATS. Only call it on the loop.

    An answer that raises is a fault of who gives it: it is reported there, and who asked gets Unanswered at once.
    """

    def __init__(self, address: BusAddress, name: str, link: Link, report: Report) -> None:
        self._address, self._name, self._report = address, name, report
        self._tag = secrets.token_bytes(8)  # in our own hints, which have reached our own listeners already
        self._topics: dict[str, Topic] = {}
        self._services: set[Service] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._hints: dict[str, None] = {}  # subjects on which to say one
        self._changed: dict[Topic | Service, None] = {}
        self._work = asyncio.Event()
        self._changes = self._serving_since = self._told = 0  # numbers of changes: made, made to serving, told
        self._progress = asyncio.Event()
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._closed = False
        self._life = asyncio.create_task(self._live(link), name=f"bus {address.shown}")

    @classmethod
    async def open(cls, address: BusAddress, *, name: str, report: Report = to_log) -> Self:
        """Connects, and stays connected until it is closed. Raises FabricError, with one clear line, within seconds."""
        if not SPELLABLE(name):
            raise BusUnusable(f"{name!r} cannot be a name on the bus; it takes letters, digits, _ and -")
        bus = cls(address, name, await Link.open(address, name, report), report)
        try:
            await bus._connected(asyncio.get_running_loop().time() + CONNECT_SECONDS)
        except BaseException:
            await bus.close()
            raise
        return bus

    def publish(self, topic: str) -> None:
        if topic in self._topics:
            self._topics[topic].tell()
        if not self._closed and len(self._hints) < MOST_HINTS:
            self._hints[HINT + spelled(topic)] = None
            self._work.set()

    @contextmanager
    def listen(self, topic: str) -> Iterator[LocalListener]:
        listener = LocalListener()
        heard = self._topics.get(topic)
        if heard is None:
            heard = self._topics[topic] = Topic(topic)
            self._change(heard)
        heard.listeners.add(listener)
        try:
            yield listener
        finally:
            heard.listeners.discard(listener)
            if not heard.listeners:
                del self._topics[topic]
                self._change(heard)

    async def request(self, subject: str, payload: bytes, seconds: float) -> bytes:
        fitting(payload)
        spelling = spelled(subject)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        link = await self._connected(until)
        fitting(payload, link.largest)
        return await link.ask(spelling, payload, until - loop.time())

    @contextmanager
    def serve(self, subject: str, answer: Answer) -> Iterator[None]:
        service = Service(subject, answer)
        self._services.add(service)
        self._change(service)
        self._serving_since = self._changes
        try:
            yield
        finally:
            self._services.discard(service)
            service.stop()
            self._change(service)

    async def settled(self, change: int | None = None) -> None:
        """Returns when the server knows all that is listened to and served by now. Raises Unreachable once closed."""
        upto = self._changes if change is None else change
        while self._told < upto:
            if self._closed:
                raise Unreachable(CLOSED)
            await self._progress.wait()

    async def close(self) -> None:
        """Let go of the connection; who is still at work on an answer is stopped, who waits for one is told."""
        self._closed = True
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    async def _connected(self, until: float) -> Link:
        """The connection, once the server knows what we serve: who answers us may ask us in turn."""
        try:
            async with asyncio.timeout_at(until):
                while True:
                    if self._closed:
                        raise Unreachable(CLOSED)
                    if self._link is None:
                        await self._linked.wait()
                    elif self._told < self._serving_since:
                        await self.settled(self._serving_since)
                    else:
                        return self._link
        except TimeoutError:
            raise Unreachable(f"The bus {self._address.shown} is lost; nothing was asked") from None

    def _change(self, changed: Topic | Service) -> None:
        self._changes += 1
        self._changed[changed] = None
        self._work.set()

    async def _live(self, link: Link) -> None:
        """Uses one connection after another."""
        try:
            while True:
                try:
                    if self._closed:
                        return
                    await self._use(link)
                finally:
                    self._link = None
                    self._linked.clear()
                    await link.close()
                self._report(
                    f"The bus {self._address.shown} is lost; trying to come back{link.why and ': '}{link.why}", None
                )
                link = await self._again()
                self._report(f"The bus {self._address.shown} is back", None)
        finally:
            self._closed = True
            self._linked.set()  # who waits sees that the bus is closed
            self._progress.set()

    async def _use(self, link: Link) -> None:
        """Tells and asks on this connection until it is lost."""
        self._changed = dict.fromkeys((*self._topics.values(), *self._services))
        telling = asyncio.create_task(self._tell(link))
        telling.add_done_callback(lambda _: link.lose())
        try:
            await link.lost()
        finally:
            link.lose()
            self._work.set()  # nats-py and asyncio.wait_for may swallow the cancellation; then this ends the telling
            telling.cancel()
            (end,) = await asyncio.gather(telling, return_exceptions=True)
        if not isinstance(end, (NoneType, asyncio.CancelledError, nats.errors.Error, OSError, FabricError)):
            self._report(f"The bus {self._address.shown} broke", end)

    async def _tell(self, link: Link) -> None:
        """Says what is to be said, and keeps the server's knowledge of what we listen to and serve up to date."""
        known: dict[Topic | Service, Subscription] = {}
        self._work.set()
        while True:
            await self._work.wait()
            if link.is_lost:
                return
            self._work.clear()
            number, changed, self._changed = self._changes, self._changed, {}
            for each in changed:
                if each.wanted and each not in known:
                    known[each] = await self._subscribe(link, each)
                elif not each.wanted and each in known:
                    gone = known.pop(each)
                    # Requests that are on their way here are told that we are gone; hints may go nowhere.
                    await (gone.unsubscribe() if isinstance(each, Topic) else link.unsubscribe(gone))
            await self._hint(link)
            if number != self._told or self._link is None:
                await link.confirm()
                for each in changed:
                    if isinstance(each, Topic):
                        each.tell()  # something may have been said between its first look and now
                self._told = number
                self._link = link
                self._linked.set()
                self._progress.set()
                self._progress = asyncio.Event()

    async def _hint(self, link: Link) -> None:
        while self._hints:
            subject = next(iter(self._hints))
            del self._hints[subject]
            try:
                await link.say(subject, self._tag)
            except Unreachable:
                self._hints[subject] = None  # it is said on the next connection
                raise

    async def _subscribe(self, link: Link, each: Topic | Service) -> Subscription:
        if isinstance(each, Topic):

            async def hint(said: Msg) -> None:
                if said.data != self._tag:
                    each.tell()

            return await link.subscribe(each.subject, hint)

        async def asked(said: Msg) -> None:
            if said.reply and self._rightful(said.subject, said.reply):
                task = asyncio.create_task(self._answer(link, each, said))
                for tasks in (each.at_work, self._at_work):
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

        return await link.subscribe(each.subject, asked, QUEUE)

    def _rightful(self, subject: str, reply: str) -> bool:
        """Whether who asks would get the answer itself: a node may give another's inbox, and we would speak for it."""
        words = subject.split(".")
        if words[0] != DESK or len(words) < 2:
            return True
        if reply.startswith((f"_INBOX_{words[1]}.", f"_INBOX_{self._name}.")):  # nobody else knows an inbox of ours
            return True
        self._report(f"A request to {subject} wanted its answer sent to somebody else and was refused", None)
        return False

    async def _answer(self, link: Link, service: Service, asked: Msg) -> None:
        """Answers one request, on the connection that stands when the answer is there."""
        outcome: str | None = None
        answer = b""
        try:
            if service.wanted and not self._closed:
                answer = fitting(
                    await service.answer(read(asked.subject), bytes(asked.data)), min(LARGEST, link.largest)
                )
            else:
                outcome = GONE
        except asyncio.CancelledError:
            outcome = FAILED
            raise
        except Exception as error:  # noqa: BLE001 - a fault of the answer's own, whatever it is
            self._report(f"Answering {read(asked.subject)} failed", error)
            answer, outcome = b"", FAILED
        finally:
            with suppress(Unreachable):
                await (self._link or link).say(asked.reply, answer, outcome=outcome)

    async def _again(self) -> Link:
        """A new connection, however long it takes; each new reason why there is none is reported once."""
        pause, told = RETRY_FIRST, ""
        while True:
            try:
                return await Link.open(self._address, self._name, self._report)
            except FabricError as error:
                if error.message != told:
                    told = error.message
                    self._report(told, None)
            except Exception as error:  # noqa: BLE001 - nothing ends the trying but close()
                self._report(f"Coming back to the bus {self._address.shown} broke", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST)

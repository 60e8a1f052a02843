"""A way to the server made of the standard library alone, without a loop: for programs whose first word must come fast.

`Client` has every verb. This one carries those of runs, takes a third of the time to import, and knows no proxy.
"""

import http.client
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlencode, urlsplit

from treadle.client.asking import Ask, output_path
from treadle.client.errors import ClientError, NoServer, Refused, Unavailable, Unreachable
from treadle.client.finding import Finder
from treadle.client.printed import HEADERS, Printed, Reader
from treadle.client.retrying import LONGEST_PAUSE, backoff, pause_before, refusal
from treadle.client.runs import RunEnd

T = TypeVar("T")

SILENCE = 60.0
"""Seconds without a byte after which a stream is taken for broken: the server sends a heartbeat four times as often."""
LASTED = 5.0
"""Seconds a stream must have been open for its end to be a new misfortune, and not more of the last one."""
PIECE = 65536


def quiet(_: ClientError | None) -> None:
    """Told of nothing."""


class _Http(http.client.HTTPConnection):
    """The address of the host is looked up as bytes: as text it would first import the alphabets of all languages."""

    def connect(self) -> None:
        try:
            host: Any = self.host.encode("ascii")
        except UnicodeEncodeError:
            host = self.host
        self.sock = socket.create_connection((host, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Plain:
    """One connection, opened at the first request and kept; used by one thread at a time. Close it."""

    def __init__(self, finder: Finder, *, timeout: float = 30.0) -> None:
        self._finder, self._timeout = finder, timeout
        self._open: http.client.HTTPConnection | None = None
        self._head: dict[str, str] = {}
        self._address = SplitResult("", "", "", "", "")

    def close(self) -> None:
        """Safe to call twice; a later request opens a new one, to wherever the server is by then."""
        if self._open is not None:
            connection, self._open = self._open, None
            connection.close()

    def ask(self, ask: Ask[T], *, patience: float = 0) -> T:
        """The answer. What did not reach the server, or may reach it twice, is tried again for so many seconds."""
        until, attempt = time.monotonic() + patience, 0
        while True:
            try:
                return self._asked(ask)
            except (NoServer, Unreachable, Refused) as error:
                pause = pause_before(error, attempt, ask.repeatable)
                if pause is None or time.monotonic() + pause > until:
                    raise
            attempt += 1
            time.sleep(pause)

    def follow(
        self, id: str, after: int = 0, *, patience: float = 0, away: Callable[[ClientError | None], None] = quiet
    ) -> Iterator[Printed]:
        """What a run has printed from an offset on, what it prints, and its end, each byte once.

        When the connection breaks it goes on behind the last byte that came, if the server is back within so many
        seconds. `away` is told of the error each time, and of None when the server is back.
        """
        reader = Reader(after)
        attempt, until = 0, 0.0
        while True:
            opened: float | None = None
            error: NoServer | Unreachable | Unavailable
            try:
                with self._stream(id, reader) as answer:
                    opened = time.monotonic()
                    if attempt:
                        away(None)
                    while data := self._piece(answer):
                        for printed in reader.feed(data):
                            yield printed
                            if isinstance(printed, RunEnd):
                                return
                error = Unreachable(f"the server at {self._address.geturl()} ended its answer early", sent=True)
            except (NoServer, Unreachable, Unavailable) as lost:
                error = lost
            finally:
                self.close()  # what was not read of an answer would stand before the next one
            reader.broken()
            now = time.monotonic()
            if not attempt or (opened is not None and now - opened > LASTED):
                attempt, until = 0, now + patience
            pause = backoff(attempt, LONGEST_PAUSE)
            if now + pause > until:
                raise error
            attempt += 1
            away(error)
            time.sleep(pause)

    def _asked(self, ask: Ask[T]) -> T:
        with self._answer(ask.method, ask.path, ask.query, ask.content, {}, self._timeout + ask.wait) as answer:
            body = self._rest(answer)
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, body, dict(answer.headers))
        return ask.read(body)

    def _stream(self, id: str, reader: Reader) -> http.client.HTTPResponse:
        resumed = reader.after > 0
        query = {} if resumed else {"after": reader.after}
        headers = {**HEADERS, "last-event-id": str(reader.after)} if resumed else HEADERS
        answer = self._answer("GET", output_path(id), query, None, headers, SILENCE)
        if answer.status != 200:
            raise refusal(answer.status, self._rest(answer), dict(answer.headers))
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        content: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> http.client.HTTPResponse:
        connection = self._connected(timeout)
        given = {name: value for name, value in query.items() if value is not None}
        sent = {**self._head, **headers}
        if content is not None:
            sent["content-type"] = "application/json"
        url = self._address.path + path + (f"?{urlencode(given, doseq=True)}" if given else "")
        try:
            connection.request(method, url, content, sent)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error, sent=True) from error

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        """The open connection, or a new one where there is none or the server has closed it."""
        if self._open is not None and (self._open.sock is None or _has_ended(self._open.sock.fileno())):
            self.close()
        if self._open is None:
            way = self._finder.find()
            self._head = {"authorization": f"Bearer {way.key}"} if way.key else {}
            kind = http.client.HTTPSConnection if way.server.startswith("https:") else _Http
            try:
                self._address = urlsplit(way.server)
                self._open = kind(self._address.hostname or "", self._address.port, timeout=timeout)
                self._open.connect()
            except (ValueError, http.client.InvalidURL) as error:
                raise NoServer(f"{way.server} is no address of a server: {error}") from error
            except OSError as error:
                raise self._lost(error, sent=False) from error
        self._open.sock.settimeout(timeout)
        return self._open

    def _piece(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read1(PIECE)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._lost(error, sent=True) from error

    def _rest(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._lost(error, sent=True) from error

    def _lost(self, error: Exception, *, sent: bool) -> Unreachable:
        """The failure of a connection in our words; the next request looks for the server anew."""
        self.close()
        reason = str(error).strip() or type(error).__name__
        return Unreachable(f"the server at {self._address.geturl()} does not answer: {reason}", sent=sent)


def _has_ended(descriptor: int) -> bool:
    """Whether something came on a connection on which nothing was asked: that is its end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))

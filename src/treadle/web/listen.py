"""Where the faces are reached: sockets opened early, one server each, started and stopped together."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from treadle.core.errors import FabricError
from treadle.web.app import App
from treadle.web.descriptors import raise_open_files
from treadle.web.join import Joined, clashes
from treadle.web.server import BACKLOG, Server

OFF = "off"
GRACE = 10.0
"""Seconds that running requests have to end when the server stops."""


class CannotListen(FabricError):
    """An address could not be taken."""


class Address(Struct, frozen=True):
    """A host (a name or an IP literal without brackets) and a port; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


class Face(Struct, frozen=True):
    """A face's application and where it wants to be reached.

    `tls` names the files of a certificate and its key. `scheme` and `suffix` are for those who are told the URL: a face
    that is one WebSocket says `wss` and `/ws`.
    """

    name: str
    app: App
    address: Address
    tls: tuple[str, str] | None = None
    scheme: str | None = None
    suffix: str = ""

    def url(self, address: Address) -> str:
        return f"{self.scheme or ('http' if self.tls is None else 'https')}://{address}{self.suffix}"


def parse_address(text: str) -> Address | None:
    """`HOST:PORT`, `[IPV6]:PORT` or `off` (None). Raises ValueError that says what was expected."""
    if text == OFF:
        return None
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not bare or not 0 <= number <= 65535 or (":" in bare) != bracketed:
        raise ValueError(f"{text!r} is not an address; write HOST:PORT, [IPV6]:PORT or {OFF}")
    return Address(bare, number)


class _Door(Struct):
    """One open socket and the faces behind it."""

    faces: list[Face]
    socket: socket.socket
    address: Address
    wanted: tuple[object, ...]
    tls: ssl.SSLContext | None

    def app(self) -> App | Joined:
        return self.faces[0].app if len(self.faces) == 1 else Joined([face.app for face in self.faces])


class Listeners:
    """All the sockets of one process.

    `open` takes the addresses (before anything else is started, so that a taken port is known early), `serve` answers
    until `stop`; start it in a task group. Faces given the same explicit address share one socket. `flag` is how a
    person gives an address, for the error message.
    """

    def __init__(self, faces: Iterable[Face], *, flag: str = "--listen", grace: float = GRACE) -> None:
        self._faces = tuple(faces)
        self._flag, self._grace = flag, grace
        self._doors: list[_Door] = []
        self._servers: list[Server] = []
        self._apps: list[App | Joined] = []
        self._stopped = False
        self.ready = asyncio.Event()
        """Set once every socket answers."""

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where each face is reached, by name, with the real port; empty before `open`."""
        return {face.name: door.address for face in self._faces for door in self._doors if face in door.faces}

    @property
    def urls(self) -> dict[str, str]:
        addresses = self.addresses
        return {face.name: face.url(addresses[face.name]) for face in self._faces if face.name in addresses}

    def open(self) -> None:
        """Takes every address. Raises CannotListen, with nothing left open, if one cannot be had."""
        raise_open_files()
        try:
            for face in self._faces:
                self._open(face)
        except CannotListen:
            self.close()
            raise

    def _open(self, face: Face) -> None:
        with self._explained(face):
            family, sockaddr = _resolve(face.address)
            wanted = (family, sockaddr)
            for door in self._doors:
                if face.address.port != 0 and door.wanted == wanted:
                    self._share(door, face)
                    return
            tls = tls_context(*face.tls) if face.tls is not None else None
            opened = _bind(family, sockaddr, face.address)
        real = Address(face.address.host, opened.getsockname()[1])
        self._doors.append(_Door([face], opened, real, wanted, tls))

    def _share(self, door: _Door, face: Face) -> None:
        """One socket more for its faces; refused where they could not be told apart there."""
        for other in door.faces:
            both = f"{other.name} and {face.name} share {face.address}"
            advice = f"give one of them another address with {self._flag} {face.name}=HOST:PORT"
            if other.tls != face.tls:
                raise CannotListen(f"{both}, and only one certificate can be shown there; {advice}")
            found = clashes(other.app, face.app)
            if found:
                raise CannotListen(f"{both}, and both have {', '.join(found)}; {advice}")
        door.faces.append(face)

    @contextlib.contextmanager
    def _explained(self, face: Face) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            raise CannotListen(f"{face.name} cannot show its certificate: {face.tls} are no pair") from error
        except OSError as error:
            reason = {
                errno.EADDRINUSE: "something else listens there already",
                errno.EACCES: "this user may not take that port",
                errno.EADDRNOTAVAIL: "this machine does not have that address",
            }.get(error.errno or 0, (error.strerror or os.strerror(error.errno or 0)).lower())
            raise CannotListen(
                f"{face.name} cannot listen on {face.address}: {reason}; "
                f"choose another address with {self._flag} {face.name}=HOST:PORT (port 0 takes a free one)"
            ) from error

    async def serve(self) -> None:
        """Answers on every socket until `stop`; returns when the last request has ended or its grace is over."""
        if self._stopped:
            return
        try:
            await self._serve()
        finally:
            self.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            for door in self._doors:
                app = door.app()
                server = Server(app, grace=self._grace, tls=door.tls)
                self._apps.append(app)
                self._servers.append(server)
                group.create_task(server.serve(sockets=[door.socket]), name=f"listen {door.address}")
            for server in self._servers:
                await server.ready.wait()
            self.ready.set()

    def stop(self) -> None:
        """Stops accepting, ends the streams, lets running requests end. May be called twice, and before `serve`."""
        self._stopped = True
        for app in self._apps:
            app.stop()
        for server in self._servers:
            server.stop()
        if not self._servers:
            self.close()

    def close(self) -> None:
        """Gives the addresses back at once."""
        for server in self._servers:
            server.close()
        for door in self._doors:
            door.socket.close()
        self._doors.clear()


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """What a listener needs for TLS 1.2 and 1.3. Raises OSError if the files cannot be read or do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _resolve(address: Address) -> tuple[int, tuple[object, ...]]:
    """The socket family and address of a host; IPv4 where a name has both."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, sockaddr = min(found, key=lambda row: row[0] != socket.AF_INET)
    return family, sockaddr


def _bind(family: int, sockaddr: tuple[object, ...], address: Address) -> socket.socket:
    # The protocol by name: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.host == "::" else 1)
        opened.bind(sockaddr)
        opened.listen(BACKLOG)  # now, not later: until then another process may bind the same port
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened

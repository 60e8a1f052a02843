"""What the HTTP layer itself refuses: each is a core error with the status that no face may change.

A face spells the body through the core class each belongs to (`NoRoute` is a `NotFound`, …); the application then
puts `status` and `headers` on whatever the face answered.
"""

from typing import ClassVar

from treadle.core.errors import Malformed, NotFound, StoreUnavailable


class NoRoute(NotFound):
    """There is no such address."""

    status: ClassVar[int] = 404
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, path: str) -> None:
        super().__init__("Route", path)


class WrongMethod(Malformed):
    """This address does not take this method."""

    status: ClassVar[int] = 405

    def __init__(self, allow: str) -> None:
        self.headers = ((b"allow", allow.encode()),)
        super().__init__(f"This address takes {allow}")


class NeedsUpgrade(Malformed):
    """This address is a WebSocket."""

    status: ClassVar[int] = 426
    headers: tuple[tuple[bytes, bytes], ...] = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"))


class TooLarge(Malformed):
    """The request body is too large."""

    status: ClassVar[int] = 413
    headers: tuple[tuple[bytes, bytes], ...] = ()


class WrongMedia(Malformed):
    """The request body is of a kind this address does not read; send application/json."""

    status: ClassVar[int] = 415
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Stopping(StoreUnavailable):
    """The server is stopping; try again in a moment."""

    status: ClassVar[int] = 503
    headers: tuple[tuple[bytes, bytes], ...] = ((b"retry-after", b"1"), (b"connection", b"close"))


Refusal = NoRoute | WrongMethod | NeedsUpgrade | TooLarge | WrongMedia | Stopping


class ClientGone(Exception):
    """The client closed the connection before the answer was ready."""

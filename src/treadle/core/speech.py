"""How requests over the bus are answered: with a value, or with one of our errors."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from msgspec import Raw, Struct, msgpack

from . import errors
from .errors import FabricError

T = TypeVar("T")


class Said(Struct, frozen=True, omit_defaults=True):
    """An answer: the value, or the class of an error and its message."""

    value: Raw = Raw(msgpack.encode(None))
    error: str | None = None
    message: str = ""


async def answered(work: Awaitable[Any]) -> bytes:
    """What to send back: the result of the work, or the FabricError that it raised."""
    try:
        return msgpack.encode(Said(Raw(msgpack.encode(await work))))
    except FabricError as error:
        return msgpack.encode(Said(error=type(error).__name__, message=error.message))


async def asked(request: Awaitable[bytes], of: type[T]) -> T:
    """The value of an answer. Raises what the answer says, as the same class of error."""
    said = msgpack.decode(await request, type=Said)
    if said.error is None:
        return msgpack.decode(said.value, type=of)
    kind = getattr(errors, said.error, FabricError)
    error = kind.__new__(kind)
    FabricError.__init__(error, said.message)
    raise error

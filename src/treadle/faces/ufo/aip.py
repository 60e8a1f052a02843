"""AIP between text and frames: reading what a client sent, writing what the server says."""

from datetime import UTC, datetime

from msgspec import DecodeError, Struct, ValidationError, json

from treadle.core.clock import SECOND
from treadle.faces.ufo.frames import ClientFrame, ServerFrame

FRAME_LIMIT = 100 * 1024 * 1024
"""Bytes of a message, in both directions; clients close with 1009 on a larger one (spec 3)."""

_decoder = json.Decoder(ClientFrame)
_encoder = json.Encoder()


class Unreadable(Struct, frozen=True):
    """A message that is no frame, and why."""

    reason: str


def decode(message: str | bytes) -> ClientFrame | Unreadable:
    """The frame in a message; a binary message that holds UTF-8 JSON is read like text."""
    try:
        return _decoder.decode(message)
    except ValidationError as error:
        return Unreadable(f"Invalid message: {error}")
    except (DecodeError, UnicodeError):
        return Unreadable("Invalid message: not JSON in UTF-8")
    except RecursionError:
        return Unreadable("Invalid message: nested too deeply")


def encode(frame: ServerFrame) -> str:
    """The frame's text. Raises TypeError where a value in it is no JSON."""
    return _encoder.encode(frame).decode()


def stamp(now: int) -> str:
    """An instant (microseconds UTC) as frames carry it: ISO 8601 with its offset."""
    return datetime.fromtimestamp(now / SECOND, UTC).isoformat()

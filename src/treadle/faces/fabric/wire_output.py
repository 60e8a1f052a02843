"""What the routes of a task's output read and say."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from treadle.core.output import Stream
from treadle.core.runs import Reason
from treadle.core.tasks import State
from treadle.faces.fabric.wire import Fence, Offset

Cursor = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class OutputQuery(Struct, frozen=True, kw_only=True):
    """From which offset on; a negative one counts from the end, 0 is the beginning."""

    after: Cursor | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """Whose bytes the body holds: the assignment, the offset among its own bytes, the stream."""

    fence: Fence
    at: Offset
    stream: Stream = "stdout"


class Uploaded(Struct, frozen=True):
    """The offset that is expected next."""

    expected: int


class Piece(Struct, frozen=True):
    """Some bytes that a task printed."""

    stream: Stream
    data: str
    encoding: Literal["base64"] = "base64"


class Gap(Struct, frozen=True):
    """These bytes are not kept, or never came."""

    begin: int = field(name="from")
    end: int = field(name="to")


class End(Struct, frozen=True):
    """The task has ended, and this was all; what is not known of its end is null. `end` is the last offset."""

    state: State
    end: int
    code: int | None = None
    signal: str | None = None
    reason: Reason | None = None
    error: str | None = None

"""What a session's runner is handed and what it gives back: the task, the device it may command, and the outcome."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct, field

Kind = Literal["action", "data_collection"]


class SessionError(Exception):
    """A session cannot go on; the message is what its result says."""


class DeviceGone(SessionError):
    """The device left before it had answered."""


class CommandTimeout(SessionError):
    """The device did not answer a command in time."""


class CommandFailed(SessionError):
    """The device said that it cannot carry out a command at all."""


class ToolCall(Struct, frozen=True):
    """One call of one of the device's tools."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "action"


class ToolResult(Struct, frozen=True):
    """What came of one call. `status` is the device's word: `success`, `failure`, `skipped` or `none`.

    A tool that ran and reports its own failure inside `result` is still a `success` (spec 4.4).
    """

    status: str
    result: Any = None
    error: str | None = None
    namespace: str | None = None
    call_id: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "success"


class Tool(Struct, frozen=True):
    """A tool as the device describes it; `input_schema` is JSON Schema."""

    name: str
    kind: Kind = "action"
    namespace: str = ""
    description: str = ""
    input_schema: dict[str, Any] = field(default_factory=dict)


class TaskSpec(Struct, frozen=True, kw_only=True):
    """A request for one device. `platform` is in lower case; `metadata` is the device's own from its registration,
    `options` what came with the task.
    """

    session_id: str
    task_name: str
    request: str
    client_id: str
    platform: str
    system_info: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


class Outcome(Struct, frozen=True):
    """How a session ended. `rounds` are pairs of `request` and `result`, as constellations know them."""

    ok: bool
    output: Any = None
    error: str | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)


class DeviceIO(Protocol):
    """The device, as a runner commands it."""

    deadline: float
    """When the session's time is over, on the event loop's clock."""

    async def call(self, calls: list[ToolCall], *, agent: str, process: str = "", root: str = "") -> list[ToolResult]:
        """Runs the calls in order on the device and gives one result for each, in the same order; after the first
        that fails the rest are `skipped`. No calls is no command. Raises DeviceGone, CommandTimeout and, where the
        device answers a command with an error of its own, CommandFailed.
        """

    async def list_tools(self, kind: str | None = None) -> list[Tool]:
        """The device's tools, all of them or those of one kind. Raises as `call` does, and CommandFailed."""

    async def progress(self, fact: dict[str, Any]) -> None:
        """Adds one line to what the task prints."""


class Handing(DeviceIO, Protocol):
    """What our sessions offer besides, for devices that carry out requests by themselves."""

    async def hand_over(self) -> Outcome:
        """Gives the request to the device whole and waits for the device's own `task_end`. Raises DeviceGone, and
        CommandTimeout if the device does not take it.
        """


class SessionRunner(Protocol):
    """Turns a request into commands and an outcome."""

    name: str

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        """To cancel the session is to cancel this; a runner lets that through."""


AGENTS = {"windows": "HostAgent", "linux": "LinuxAgent", "mobile": "MobileAgent"}
"""Which set of tools a device is asked for, by platform (spec 8.5); a stock device ignores a name that it lacks."""


def agent_of(platform: str) -> str:
    """The set of tools that a device of this platform is asked for."""
    return AGENTS.get(platform, AGENTS["linux"])


def executes_requests(metadata: Mapping[str, Any]) -> bool:
    """Whether a device says of itself that it carries out whole requests."""
    return metadata.get("executes_requests") is True

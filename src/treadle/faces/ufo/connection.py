"""One client's side of the protocol as a screenplay: what it said goes in, what has to be done comes out (spec 3 to 6).

Nothing here sends, waits or looks at a clock. Who performs the effects does so in their order.
"""

from typing import Any, Protocol

from msgspec import Struct, field

from treadle.faces.ufo.aip import Unreadable
from treadle.faces.ufo.frames import ClientFrame, Result, Role, ServerFrame

NORMAL, POLICY = 1000, 1008
LONGEST_ID = 256
LONGEST_NAME = 1024
BOUND = frozenset({"task", "command_results", "device_info_request"})
"""What only a client of the right type may say; stock constellations send heartbeats as if they were devices (6.2)."""
DEFAULT_PLATFORM = "windows"


class World(Protocol):
    """Who else is there."""

    def role(self, client_id: str) -> Role | None:
        """What the connected client of this id is; None where there is none."""

    def taken(self, client_id: str) -> bool:
        """Whether the id is somebody's, be it only about to be connected."""


class Registration(Struct, frozen=True, kw_only=True):
    """Who a client said it is. `platform` is in lower case; `metadata` is without the `system_info`."""

    client_id: str
    role: Role
    target: str | None = None
    platform: str = DEFAULT_PLATFORM
    system_info: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


class Say(Struct, frozen=True):
    """Send this to the client."""

    frame: ServerFrame


class Close(Struct, frozen=True):
    """Close its socket once everything was said."""

    code: int
    reason: str = ""


class Challenge(Struct, frozen=True):
    """See whether the client that has this id is alive, evict it if not, and say so to `challenged`."""

    client_id: str


class Welcome(Struct, frozen=True):
    """Take the id, write the verdict, and only then let others see the client."""

    registration: Registration


class TaskAsked(Struct, frozen=True, kw_only=True):
    """The client wants a task to be carried out on `target`; from a device it may be the echo of an assignment."""

    target: str
    request: str
    task_name: str | None = None
    session_id: str | None = None
    metadata: dict[str, Any] | None = None


class Answered(Struct, frozen=True):
    """Results of a command; whether anybody waits for them is another matter."""

    session_id: str | None
    response_id: str | None
    results: list[Result]


class Troubled(Struct, frozen=True):
    """The client told of an error; with a response id it is the answer to that command."""

    session_id: str | None
    response_id: str | None
    error: str


class EndTold(Struct, frozen=True):
    """The client says that a task is over."""

    frame: ClientFrame


class InfoAsked(Struct, frozen=True):
    """The client wants to know what a device is."""

    target: str
    request_id: str | None


Effect = Say | Close | Challenge | Welcome | TaskAsked | Answered | Troubled | EndTold | InfoAsked


class Peer:
    """A client from its first frame on."""

    def __init__(self) -> None:
        self.registration: Registration | None = None
        self._asking: ClientFrame | None = None

    def received(self, frame: ClientFrame | Unreadable, world: World) -> list[Effect]:
        """What a message leads to."""
        if isinstance(frame, Unreadable):
            return [error(frame.reason)]
        if self.registration is None:
            return self._register(frame, world)
        return self._registered(self.registration, frame, world)

    def overdue(self) -> list[Effect]:
        """It did not register in time."""
        return [error("Registration did not come in time"), Close(POLICY, "registration did not come in time")]

    def challenged(self, alive: bool, world: World) -> list[Effect]:
        """The client that has the wanted id was found alive, or was evicted."""
        assert self._asking is not None  # it was, or nobody would have been challenged
        if alive:
            told = f"Client {self._asking.client_id} is connected already"
            return [error(told), Close(NORMAL, "duplicate client id")]
        return self._register(self._asking, world)

    def _register(self, frame: ClientFrame, world: World) -> list[Effect]:
        if frame.type != "register":
            return [error("The first message must be a registration"), Close(POLICY, "no registration")]
        id = frame.client_id or ""
        if not id or len(id) > LONGEST_ID or not id.isprintable():
            told = f"A registration needs a client_id of 1 to {LONGEST_ID} printable characters"
            return [error(told), Close(POLICY, "invalid registration")]
        target = frame.target_id if frame.role == "constellation" else None
        if target and world.role(target) != "device":
            return [error(f"Target device {target} is not connected"), Close(NORMAL, "target device not connected")]
        if world.taken(id):
            self._asking = frame
            return [Challenge(id)]
        self.registration = registration_in(id, frame, target or None)
        return [Welcome(self.registration)]

    def _registered(self, own: Registration, frame: ClientFrame, world: World) -> list[Effect]:
        if frame.type == "register":
            return [error(f"Client {own.client_id} is registered already")]
        if frame.client_id and frame.client_id != own.client_id:
            return [error(f"This connection belongs to client {own.client_id}, not to {frame.client_id}")]
        if frame.type in BOUND and frame.role != own.role:
            return [error(f"Client {own.client_id} is registered as a {own.role}, not as a {frame.role}")]
        match frame.type:
            case "heartbeat":
                return [Say(ServerFrame(type="heartbeat", status="ok"))]
            case "task":
                return self._task(own, frame, world)
            case "command_results":
                return [Answered(frame.session_id, frame.prev_response_id, frame.action_results or [])]
            case "device_info_request":
                return self._info(own, frame)
            case "task_end":
                return [EndTold(frame)]
            case "error":
                return [Troubled(frame.session_id, frame.prev_response_id, frame.error or "unknown error")]
            case _:  # device_info_response is accepted and means nothing yet (4.5)
                return []

    def _task(self, own: Registration, frame: ClientFrame, world: World) -> list[Effect]:
        target = frame.target_id or (own.client_id if own.role == "device" else None)
        if not target:
            return refusal(frame.session_id, frame.task_name, "A task needs a target_id")
        if own.role == "device" and target != own.client_id:
            told = f"Device {own.client_id} may only ask for tasks on itself, not on {target}"
            return refusal(frame.session_id, frame.task_name, told)
        names = [name or "" for name in (frame.session_id, frame.task_name)]
        if any(len(name) > LONGEST_NAME for name in names) or "\0" in "".join((*names, frame.request or "")):
            told = f"Names and ids may have {LONGEST_NAME} characters, and no text of a task may hold a NUL"
            return refusal(None, None, told)
        if own.role == "constellation":
            found = world.role(target)
            if found is None:
                return refusal(frame.session_id, frame.task_name, f"Target device {target} is not connected")
            if found != "device":
                return refusal(frame.session_id, frame.task_name, f"Target {target} is not a device")
            if not frame.request:
                return refusal(frame.session_id, frame.task_name, "Empty task content")
        return [
            TaskAsked(
                target=target,
                request=frame.request or "",
                task_name=frame.task_name or None,
                session_id=frame.session_id or None,
                metadata=frame.metadata,
            )
        ]

    def _info(self, own: Registration, frame: ClientFrame) -> list[Effect]:
        told = ""
        if own.role != "constellation":
            told = "Only constellations may ask for device information"
        elif not frame.target_id:
            told = "A request for device information needs a target_id"
        elif own.target and frame.target_id != own.target:
            told = f"Client {own.client_id} may only ask about its target {own.target}"
        if told or not frame.target_id:
            return [Say(ServerFrame(type="error", status="error", error=told, response_id=frame.request_id))]
        return [InfoAsked(frame.target_id, frame.request_id)]


def error(told: str) -> Say:
    return Say(ServerFrame(type="error", status="error", error=told))


def refusal(session_id: str | None, task_name: str | None, told: str) -> list[Effect]:
    """Says why a task is not taken, and ends it for a client that waits for the session it named (5.4)."""
    why = ServerFrame(type="error", status="error", error=told, session_id=session_id, task_name=task_name)
    if not session_id:
        return [Say(why)]
    end = ServerFrame(type="task_end", status="failed", error=told, session_id=session_id, task_name=task_name)
    return [Say(why), Say(end)]


def registration_in(client_id: str, frame: ClientFrame, target: str | None) -> Registration:
    """Who the client said it is. Its platform is the registration's, else the system's (5.1)."""
    metadata = dict(frame.metadata or {})
    system_info = metadata.pop("system_info", None)
    system_info = system_info if isinstance(system_info, dict) else {}
    platform = next(
        (
            given
            for given in (metadata.get("platform"), system_info.get("platform"))
            if given and isinstance(given, str)
        ),
        DEFAULT_PLATFORM,
    )
    return Registration(
        client_id=client_id,
        role=frame.role,
        target=target,
        platform=platform.strip().lower(),
        system_info=system_info,
        metadata=metadata,
    )

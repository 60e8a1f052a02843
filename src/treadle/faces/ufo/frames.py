"""The frames of AIP as they stand on the wire (spec 4): what a client says, what the server says, and their parts.

Unknown keys are ignored in both directions and null is the same as absent, so every optional key may be None; what the
server says leaves such keys out.
"""

from typing import Any, Literal

from msgspec import Struct

Role = Literal["device", "constellation"]
Status = Literal["continue", "completed", "failed", "ok", "error"]
Said = Literal[
    "register", "task", "heartbeat", "command_results", "task_end", "device_info_request", "device_info_response",
    "error",
]  # fmt: skip
Told = Literal["task", "command", "task_end", "heartbeat", "device_info_request", "device_info_response", "error"]


class Command(Struct, frozen=True, kw_only=True):
    """One call of a tool."""

    tool_name: str
    tool_type: Literal["data_collection", "action"]
    parameters: dict[str, Any]
    call_id: str


class Result(Struct, frozen=True, kw_only=True):
    """What came of one call."""

    status: Literal["success", "failure", "skipped", "none"]
    result: Any = None
    error: str | None = None
    namespace: str | None = None
    call_id: str | None = None


class ClientFrame(Struct, frozen=True, kw_only=True):
    """What a client says. `result` is no key of the stock clients: devices that carry out requests end them with it."""

    type: Said
    status: Status
    client_type: Role | None = None
    client_id: str | None = None
    target_id: str | None = None
    session_id: str | None = None
    task_name: str | None = None
    request: str | None = None
    action_results: list[Result] | None = None
    request_id: str | None = None
    prev_response_id: str | None = None
    timestamp: str | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None
    result: Any = None

    @property
    def role(self) -> Role:
        """Who speaks, by this frame alone: absent means a device."""
        return self.client_type or "device"


class ServerFrame(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server says."""

    type: Told
    status: Status
    user_request: str | None = None
    agent_name: str | None = None
    process_name: str | None = None
    root_name: str | None = None
    actions: list[Command] | None = None
    error: str | None = None
    session_id: str | None = None
    task_name: str | None = None
    timestamp: str | None = None
    response_id: str | None = None
    result: Any = None

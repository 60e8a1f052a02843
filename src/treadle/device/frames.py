"""The frames of AIP as a device sees them: what a server may say, and what the device answers (spec 4)."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

MOST = 100 * 1024 * 1024
"""Bytes of one message, both ways (spec 3)."""


class Unreadable(Exception):
    """A message that is no frame: one line that says why."""


class Command(Struct, frozen=True):
    """One tool call. Its type is a hint: names are unique on a device."""

    tool_name: str
    tool_type: str = "action"
    parameters: dict[str, Any] | None = None
    call_id: str | None = None


class Result(Struct, frozen=True):
    """What came of one call. A tool that ran and tells of its own failure in `result` is a `success` (spec 4.4)."""

    status: Literal["success", "failure", "skipped", "none"]
    result: Any = None
    error: str | None = None
    namespace: str | None = None
    call_id: str | None = None


class ServerFrame(Struct, frozen=True):
    """Anything a server says. Unknown keys are ignored; whatever is missing is null."""

    type: Literal["task", "command", "task_end", "heartbeat", "device_info_request", "device_info_response", "error"]
    status: Literal["continue", "completed", "failed", "ok", "error"]
    user_request: str | None = None
    agent_name: str | None = None
    process_name: str | None = None
    root_name: str | None = None
    actions: list[Command] | None = None
    messages: list[str] | None = None
    error: str | None = None
    session_id: str | None = None
    task_name: str | None = None
    timestamp: str | None = None
    response_id: str | None = None
    result: Any = None


class ClientFrame(Struct, frozen=True):
    """Anything a client says; every key is sent, null where there is nothing to say, as the stock client does.

    `result` is an addition, of a `task_end` alone (spec 8.5); those who do not know it ignore it.
    """

    type: Literal[
        "register", "task", "heartbeat", "command_results", "task_end", "device_info_request", "device_info_response",
        "error",
    ]  # fmt: skip
    status: Literal["continue", "completed", "failed", "ok", "error"] = "ok"
    client_type: Literal["device", "constellation"] = "device"
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
    result: Any | UnsetType = UNSET


_decoder = msgspec.json.Decoder(ServerFrame)
_encoder = msgspec.json.Encoder()


def decode(message: str | bytes) -> ServerFrame:
    """What a server said, as text or as bytes that hold UTF-8. Raises Unreadable."""
    try:
        return _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Unreadable(str(error)) from None


def encode(frame: ClientFrame) -> bytes:
    """A frame as UTF-8 text. Raises UnicodeError for text that is none, TypeError for what JSON cannot say."""
    return _encoder.encode(frame)

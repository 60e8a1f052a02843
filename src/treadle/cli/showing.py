"""What a run prints, as a command passes it on: its bytes as they are, or a line of JSON for each piece."""

import os
from base64 import b64encode
from signal import Signals
from typing import Any

from treadle.client.printed import Printed
from treadle.client.runs import Chunk, Gap, RunEnd

from .printing import json_line, note

OUT, ERR = 1, 2
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def show(printed: Printed, json: bool) -> None:
    """Pass it on at once. Raises BrokenPipeError when nobody reads any more."""
    if json:
        json_line(spelled(printed))
    elif isinstance(printed, Chunk):
        write(OUT if printed.stream == "stdout" else ERR, printed.data)
    elif isinstance(printed, Gap):
        note(f"treadle: {printed.end - printed.at} bytes that were printed here are no longer kept")


def write(descriptor: int, data: bytes) -> None:
    """All of the data, past every buffer."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # somebody who shares the terminal made it non-blocking
            _wait_until_writable(descriptor)


def spelled(printed: Printed) -> dict[str, Any]:
    """One piece as JSON; bytes that are no UTF-8 text are in base64."""
    if isinstance(printed, RunEnd):
        return {"event": "end", **{name: getattr(printed, name) for name in printed.__struct_fields__}}
    if isinstance(printed, Gap):
        return {"event": "gap", "from": printed.at, "to": printed.end}
    try:
        data = {"text": printed.data.decode()}
    except UnicodeDecodeError:
        data = {"base64": b64encode(printed.data).decode()}
    return {"event": "output", "at": printed.at, "stream": printed.stream, **data}


def exit_code(end: RunEnd) -> int:
    """The command's own exit code, 128+N after signal N, what a shell says of a command that cannot start, else 1."""
    if end.code is not None:
        return end.code if end.code >= 0 else 128 - end.code
    if end.reason == "spawn_error":
        return NOT_EXECUTABLE if "permission" in (end.error or "").lower() else NOT_FOUND
    if end.signal and end.signal in Signals.__members__:
        return 128 + Signals[end.signal]
    return 0 if end.state == "succeeded" else 1


def why(end: RunEnd) -> str | None:
    """What a person has to be told because the command did not simply end."""
    if end.error:
        return end.error
    if end.reason == "timeout":
        return "it ran longer than it was allowed to"
    if end.reason in ("lost", "shutdown"):
        return "the node that ran it was stopped" if end.reason == "shutdown" else "the node that ran it is gone"
    return "it was called off" if end.state == "cancelled" else None


def _wait_until_writable(descriptor: int) -> None:
    import select

    select.select([], [descriptor], [])

"""Which failed requests may be tried again, and after how long."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from treadle.client.errors import Fault, NoServer, Refused, Unreachable, Unreadable, refused

LONGEST_PAUSE = 2.0
HEALS = frozenset({"store_unavailable", "stopping", "too_many"})
"""Refusals that leave nothing behind and pass by themselves."""


def pause_before(error: NoServer | Unreachable | Refused, attempt: int, repeatable: bool) -> float | None:
    """Seconds until the request may be tried again, or None if it must not be."""
    if isinstance(error, Refused):
        if error.code not in HEALS:
            return None
        least = error.retry_after if error.code == "too_many" else 0.0
    elif isinstance(error, Unreachable) and error.sent and not repeatable:
        return None
    else:
        least = 0.0
    return max(least, backoff(attempt, LONGEST_PAUSE))


def backoff(attempt: int, longest: float) -> float:
    """Seconds to wait before the next attempt: twice as long each time, and never two callers at the same moment."""
    return float(min(longest, 0.1 * 2 ** min(attempt, 20)) * (0.5 + random.random() / 2))


class _Said(Struct):
    """The body of a refusal."""

    error: str
    code: str
    faults: tuple[Fault, ...] = ()


def refusal(status: int, body: bytes, headers: Mapping[str, Any]) -> Refused | Unreadable | Unreachable:
    """An answer that is no success as an error."""
    try:
        said = msgspec.json.decode(body, type=_Said)
    except msgspec.DecodeError:
        if status in (502, 503, 504):
            return Unreachable(f"something before the server says that it does not answer: status {status}", sent=True)
        return Unreadable(f"what answers there is no Treadle server: status {status}")
    after = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), "1")
    return refused(
        said.code,
        said.error,
        status=status,
        faults=said.faults,
        retry_after=float(after) if after.isdigit() else 1.0,
    )

"""What may be said on a bus: how a subject is spelled for others, how large a payload may be, who is told of faults."""

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, unquote

from treadle.core.errors import Fault, Invalid

Report = Callable[[str, BaseException | None], None]
"""Told what a person should know and no caller can be told: one line, and the exception behind it if there is one."""

LARGEST = 1024 * 1024
"""Bytes that one request or one answer carries at most."""

LONGEST = 1024
"""Characters of a subject as it is spelled; a NATS server cuts the line of a client that says more than 4096."""

REST = ".>"
"""The end of a served subject that stands for whatever follows."""

EMPTY = "%"
"""How an empty word is spelled."""

_plain = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*").fullmatch
_logger = logging.getLogger(__name__)


def to_log(text: str, error: BaseException | None) -> None:
    """The report of a bus that was given no other."""
    _logger.error(text, exc_info=error)


@lru_cache(maxsize=4096)
def spelled(subject: str) -> str:
    """The subject as a NATS server takes it: in each word percent signs stand for what is no letter, digit, `_` or `-`.

    Different subjects are spelled differently, and `.` divides words as before. Raises ValueError where there is no
    subject or one too long.
    """
    words = subject if _plain(subject) else ".".join(_word(word) for word in subject.split("."))
    if not subject or len(words) > LONGEST:
        raise ValueError(f"not a subject: {subject[:80]!r} ({len(words)} characters of 1 to {LONGEST})")
    return words


def spelled_served(subject: str) -> str:
    """The spelling of a subject that is served: exact, or ending in `.>`."""
    return spelled(subject.removesuffix(REST)) + (REST if subject.endswith(REST) else "")


def read(spelling: str) -> str:
    """The subject that is spelled so."""
    if "%" not in spelling:
        return spelling
    return ".".join("" if word == EMPTY else unquote(word, errors="surrogatepass") for word in spelling.split("."))


def fitting(payload: bytes, largest: int = LARGEST) -> bytes:
    """The payload, or Invalid where it is larger than a message may be."""
    if len(payload) > largest:
        raise Invalid(Fault("payload", f"has {len(payload)} bytes; the bus carries at most {largest}"))
    return payload


def _word(word: str) -> str:
    return quote(word, safe="", errors="surrogatepass").replace("~", "%7E") or EMPTY

"""Names for new things: UUIDv4 text for ids, opaque random text for secrets. Order never comes from an id."""

import secrets
from collections.abc import Callable
from os import register_at_fork, urandom

Ids = Callable[[], str]

DRAWN_AT_ONCE = 256
_drawn: list[str] = []
"""Random digits for the next ids: asking the system for each by itself costs more than all the rest of an id. `pop`
and `extend` are atomic, so threads may share it; a forked child must not give out what its parent will."""
register_at_fork(after_in_child=_drawn.clear)


def new_id() -> str:
    """A random UUID, version 4, as its 36 characters."""
    try:
        text = _drawn.pop()
    except IndexError:
        digits = urandom(16 * DRAWN_AT_ONCE).hex()
        text = digits[:32]
        _drawn.extend(digits[start : start + 32] for start in range(32, len(digits), 32))
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def new_secret() -> str:
    """An unguessable token, 43 URL-safe characters (256 bits)."""
    return secrets.token_urlsafe(32)

"""Names for new things: UUIDv4 text for ids, opaque random text for secrets. Order never comes from an id."""

import secrets
from collections.abc import Callable
from os import urandom

Ids = Callable[[], str]


def new_id() -> str:
    """A random UUID, version 4, as its 36 characters."""
    text = urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def new_secret() -> str:
    """An unguessable token, 43 URL-safe characters (256 bits)."""
    return secrets.token_urlsafe(32)

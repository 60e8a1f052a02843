"""What a caller shows in the Authorization header: a bearer token, a name with a password, or nothing."""

import base64
import binascii
import hashlib
import hmac

from msgspec import Struct

from treadle.core.errors import Unauthenticated

LONGEST = 4096


class Bearer(Struct, frozen=True):
    """A token."""

    token: str


class Basic(Struct, frozen=True):
    """A user's name and password."""

    name: str
    password: str


def shown(header: bytes | None) -> Bearer | Basic | None:
    """Reads the header; None where there is none. Raises Unauthenticated for anything it cannot be."""
    if header is None:
        return None
    scheme, _, rest = header.strip().partition(b" ")
    rest = rest.strip()
    try:
        if rest and len(rest) <= LONGEST:
            if scheme.lower() == b"bearer":
                return Bearer(rest.decode("utf-8"))
            if scheme.lower() == b"basic":
                name, colon, password = base64.b64decode(rest, validate=True).decode("utf-8").partition(":")
                if colon:
                    return Basic(name, password)
    except (UnicodeDecodeError, binascii.Error):
        pass  # said below, as for every other header that is none of the two
    raise Unauthenticated("Authorization must be `Bearer TOKEN`, or `Basic` with a name and a password")


def same(shown: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells neither where they differ nor how long they are."""
    return hmac.compare_digest(_hashed(shown), _hashed(expected))


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

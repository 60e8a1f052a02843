"""The Console's cookies: their names, and how a browser is told to keep or to forget them (contract 3.1)."""

from treadle.web import cookies
from treadle.web.call import Call

SESSION = "session"
REMEMBER = "ua_remember"


def keep(call: Call, name: str, value: str, *, seconds: int | None = None) -> tuple[bytes, bytes]:
    """The header that stores a cookie, for `seconds` or until the browser closes.

    Secure where the browser spoke TLS: to us, or to a proxy that we believe. On plain HTTP a browser would not keep a
    Secure cookie, and nobody could log in.
    """
    return cookies.set_cookie(name, value, seconds=seconds, secure=call.scheme == "https")


def forget(call: Call, name: str) -> tuple[bytes, bytes]:
    """The header that makes a browser forget a cookie."""
    return keep(call, name, "", seconds=0)

"""Cookies: what a browser sends, and what it is told to keep."""

import re
from typing import Literal

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*\Z")


def read_cookies(header: bytes | None) -> dict[str, str]:
    """The cookies of a Cookie header; of two with one name the first counts, whose path is the closer one."""
    found: dict[str, str] = {}
    for pair in (header or b"").decode("latin-1").split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if equals:
            found.setdefault(name, value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value)
    return found


def set_cookie(
    name: str,
    value: str,
    *,
    seconds: int | None = None,
    path: str = "/",
    secure: bool = False,
    same_site: Literal["Strict", "Lax"] = "Lax",
    scripts: bool = False,
) -> tuple[bytes, bytes]:
    """A header for a reply; a reply may have several. Without `seconds` the cookie ends with the browser, with 0 now.

    Only with `scripts` may the page's own scripts read it. Raises ValueError for what no cookie can hold.
    """
    if not _NAME.match(name) or not _VALUE.match(value) or not _VALUE.match(path):
        raise ValueError(f"The cookie {name!r} holds what a cookie cannot")
    parts = [f"{name}={value}", f"Path={path}", f"SameSite={same_site}"]
    if seconds is not None:
        parts.append(f"Max-Age={seconds}")
    if secure:
        parts.append("Secure")
    if not scripts:
        parts.append("HttpOnly")
    return b"set-cookie", "; ".join(parts).encode()

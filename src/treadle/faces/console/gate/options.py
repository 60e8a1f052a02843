"""What a person sets for the Console's gate, and whether that makes sense."""

import ipaddress
from typing import Literal

from msgspec import Struct

from treadle.core.errors import FabricError

SECRET_BYTES = 32
RESERVED = frozenset({"anonymous@console", "local", "token"})
"""Names of callers that are no web user; a web user with such a name would share their runs."""


class CannotAdmit(FabricError, ValueError):
    """The settings of the Console contradict each other; the server does not start with them."""


class GateOptions(Struct, frozen=True, kw_only=True):
    """Who gets in (contract 3.1, 6).

    `token` is UA_TOKEN, `username` and `password` are UA_WEBUI_USERNAME and UA_WEBUI_PASSWORD, `test_token` is
    UA_TEST_BEARER_TOKEN. `auth` "required" closes a server that has neither a token nor a user. `session_secret` (at
    least 32 bytes) signs cookies and CSRF tokens; without one it is made once and kept in the store. `setup_code` lets
    somebody who is not on this machine make the first user. `proxies` are the addresses or networks whose
    `X-Forwarded-*` headers are believed.
    """

    token: str = ""
    username: str = ""
    password: str = ""
    test_token: str = ""
    auth: Literal["open", "required"] = "open"
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    session_secret: bytes = b""
    setup_code: str = ""
    proxies: tuple[str, ...] = ()

    @property
    def has_user(self) -> bool:
        return bool(self.username)


def check(options: GateOptions) -> None:
    """Raises CannotAdmit, naming the setting, where the options cannot be meant as they are."""
    if bool(options.username) != bool(options.password):
        raise CannotAdmit("Set both UA_WEBUI_USERNAME and UA_WEBUI_PASSWORD, or neither")
    if options.username in RESERVED or ":" in options.username:
        raise CannotAdmit("UA_WEBUI_USERNAME holds a colon, or is a name that the Console uses itself; take another")
    if options.session_secret and len(options.session_secret) < SECRET_BYTES:
        raise CannotAdmit(f"The session secret must have at least {SECRET_BYTES} bytes")
    if "*" in options.cors_origins:
        raise CannotAdmit("UA_WEBUI_CORS_ORIGINS cannot be `*`: answers carry credentials; list the origins")
    for proxy in options.proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise CannotAdmit(f"{proxy!r} is no address or network; list proxies as 10.0.0.1 or 10.0.0.0/8") from None

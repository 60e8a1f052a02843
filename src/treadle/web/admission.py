"""Which requests come in at all, and what every answer tells browsers: hosts, origins, CORS, security headers."""

import ipaddress
from collections.abc import Iterable

from treadle.core.errors import Denied, Malformed
from treadle.web.call import Call, Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY = "*"
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
"""The content security policy of everything that is not a page; a page brings its own."""

_SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ONLY_HTTPS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
_PREFLIGHT: Headers = (
    (b"access-control-allow-methods", b"GET,HEAD,PUT,PATCH,POST,DELETE"),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = b"X-Correlation-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Location"

_ONCE = frozenset((b"host", b"authorization", b"content-length", b"content-type", b"origin"))
"""Headers that two readers could take differently when repeated."""


class Admission:
    """The doorkeeper of one listener.

    `hosts` are the names besides loopback under which the listener may be addressed; an IP literal is always one,
    since DNS rebinding needs a name. `origins` are the web origins (`https://example.org`) whose pages may change
    things here and read the answers; `*` is all of them. The listener's own origin always may.
    """

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self.hosts = frozenset(host.strip("[]").lower().rstrip(".") for host in (*LOOPBACK, *hosts))
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self.any_origin = ANY in self.origins
        self.silent = not self.origins
        self._known_hosts: set[str] = set()

    def admit(self, call: Call) -> None:
        """Raises Malformed without a Host, Denied for an unknown one and for a change from an unlisted origin."""
        if call.host not in self._known_hosts:
            self._admit_host(call)
        if call.method not in SAFE_METHODS:
            origin = call.headers.get(b"origin")
            if origin is not None and not self.trusts(call, origin.decode("latin-1")):
                raise Denied("Pages of this origin may not change anything here; list it among the CORS origins")

    def admit_socket(self, call: Call) -> None:
        """As `admit`; an unlisted origin is refused always, for no browser asks before it opens a WebSocket."""
        self.admit(call)
        origin = call.headers.get(b"origin")
        if origin is not None and not self.trusts(call, origin.decode("latin-1")):
            raise Denied("Pages of this origin may open no WebSocket here; list it among the CORS origins")

    def _admit_host(self, call: Call) -> None:
        if b"host" not in call.headers:
            raise Malformed("The request has no Host header")
        name = host_name(call.host)
        if name not in self.hosts and not _is_address(name):
            raise Denied("This server is not known under that host name; list it among the allowed hosts")
        if len(self._known_hosts) < 100:
            self._known_hosts.add(call.host)

    def trusts(self, call: Call, origin: str) -> bool:
        """Whether pages of this origin may change things: our own, a listed one, or any if all are listed."""
        origin = origin.lower()
        return self.any_origin or origin in self.origins or origin == f"{call.scheme}://{call.host}".lower()

    def cors(self, call: Call) -> Headers:
        """What the answer tells a browser about pages of other origins."""
        if self.any_origin:
            allowed = b"*"
        elif not self.origins:
            return ()
        else:
            origin = call.headers.get(b"origin", b"")
            if origin.decode("latin-1").lower() not in self.origins:
                return ((b"vary", b"Origin"),)
            allowed = origin
        headers: Headers = (
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _EXPOSED),
        )
        return headers if self.any_origin else (*headers, (b"vary", b"Origin"))

    def preflight(self, call: Call) -> Headers:
        """The further headers of the answer to a preflight; none for an origin that may not."""
        origin = call.headers.get(b"origin", b"").decode("latin-1")
        if not self.trusts(call, origin):
            return ()
        asked = call.headers.get(b"access-control-request-headers")
        return (*_PREFLIGHT, (b"access-control-allow-headers", asked)) if asked else _PREFLIGHT

    def security(self, scheme: str) -> Headers:
        """The headers that every answer carries."""
        return _SECURITY + _ONLY_HTTPS if scheme == "https" else _SECURITY


def refuse_repeated(headers: list[tuple[bytes, bytes]]) -> None:
    """Raises Malformed if a header that two readers could take differently is repeated."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _ONCE and name in seen:
            raise Malformed(f"The header {name.decode('latin-1')} is repeated")
        seen.add(name)


def host_name(host: str) -> str:
    """The name in a Host header: without port and brackets, lower case, without the root's dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

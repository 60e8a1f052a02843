"""Where a NATS server is: its URL with whatever is secret in it, the name we show for it, the certificate we expect."""

import re
import ssl
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from treadle.core.errors import FabricError

from .credentials import Credentials, read_credentials

PORT = 4222
UNREADABLE = (
    "The bus's URL cannot be read; it looks like nats://host:4222 or tls://host:4222?fingerprint=SHA256, with several "
    "hosts divided by commas"
)


class BusUnusable(FabricError):
    """The bus cannot be used as it is set."""


class BusAddress:
    """One or more servers of one NATS. No secret is in any message or representation."""

    def __init__(self, url: str, credentials: Path | None = None) -> None:
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise BusUnusable(UNREADABLE) from None
        userinfo, _, hosts = parts.netloc.rpartition("@")
        self.servers = [_server(parts.scheme, host) for host in hosts.split(",")]
        pins = [pin.lower() for each in query.pop("fingerprint", []) for pin in each.split(",")]
        if (
            parts.scheme not in ("nats", "tls")
            or parts.path not in ("", "/")
            or parts.fragment
            or query
            or any(not re.fullmatch(r"[0-9a-f]{64}", pin) for pin in pins)
            or (pins and parts.scheme != "tls")
        ):
            raise BusUnusable(UNREADABLE)
        self.shown = f"{parts.scheme}://{hosts}"
        self.tls = _context(pins) if parts.scheme == "tls" else None
        self._file = credentials
        user, colon, password = userinfo.partition(":")
        self._inline = (
            Credentials(user=unquote(user), password=unquote(password))
            if colon
            else Credentials(token=unquote(user) or None)
        )

    def credentials(self) -> Credentials:
        """Who we are, read anew for each connection. Raises CredentialsUnusable."""
        return read_credentials(self._file) if self._file else self._inline

    def __repr__(self) -> str:
        return f"BusAddress({self.shown})"


def _server(scheme: str, host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        raise BusUnusable(UNREADABLE) from None
    if not parts.hostname:
        raise BusUnusable(UNREADABLE)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{name}:{port if port is not None else PORT}"


def _context(pins: list[str]) -> ssl.SSLContext:
    """Trusts the certificates of these SHA-256 fingerprints and no others; without any, those the system trusts."""
    if not pins:
        context = ssl.create_default_context()
    else:

        class Pinned(ssl.SSLObject):
            """Ends the handshake, before anything of ours is said, where the certificate is not one of the pinned."""

            def do_handshake(self) -> None:
                super().do_handshake()
                print_ = sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
                if not any([compare_digest(print_, pin) for pin in pins]):  # noqa: C419 - each is compared
                    raise ssl.SSLCertVerificationError("its certificate is not the one whose fingerprint is pinned")

        # The handshake proves that the server holds the key of its certificate; the fingerprint says which that is.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.sslobject_class = Pinned
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context

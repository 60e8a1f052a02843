"""Where a device's server is, with what secret it lets us in, and whose certificate it must show."""

import hashlib
import ssl
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit


class Wrong(Exception):
    """An address that cannot be used: one line that says why."""


class Address:
    """A server. Its text never shows the token.

    `pin` is the SHA-256 of the certificate that it must show, whoever signed it; `ca` a file with the only authorities
    to be believed. Without either the system's are.
    """

    def __init__(self, url: str, token: str = "", *, ca: Path | None = None, pin: str = "") -> None:
        try:
            parts = urlsplit(url)
            self.port = parts.port
        except ValueError as error:
            raise Wrong(f"--server: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment:
            raise Wrong("--server: must be ws://HOST:PORT/ws or wss://HOST:PORT/ws")
        if parts.username is not None or any(name == "token" for name, _ in parse_qsl(parts.query)):
            raise Wrong("--server: everybody on this machine can read a secret there; say --token @FILE instead")
        self.host = parts.hostname
        self._token = token
        self._shown = urlunsplit((parts.scheme, parts.netloc, parts.path or "/ws", parts.query, ""))
        secret = f"token={quote(token, safe='')}" if token else ""
        query = "&".join(filter(None, (parts.query, secret)))
        self.url = urlunsplit((parts.scheme, parts.netloc, parts.path or "/ws", query, ""))
        self.tls = parts.scheme == "wss"
        if (ca or pin) and not self.tls:
            raise Wrong("a certificate is only shown on wss:// addresses")
        self._ca, self._pin = ca, pin.replace(":", "").lower()
        if self._pin and (len(self._pin) != 64 or set(self._pin) - set("0123456789abcdef")):
            raise Wrong("--tls-pin: must be the 64 hexadecimal digits of a certificate's SHA-256")

    def __str__(self) -> str:
        return self._shown

    @property
    def local(self) -> bool:
        return self.host in ("localhost", "127.0.0.1", "::1")

    def hidden(self, text: str) -> str:
        """A text without the token, however it is written in there."""
        for secret in (quote(self._token, safe=""), self._token):
            if secret:
                text = text.replace(secret, "***")
        return text

    def context(self) -> ssl.SSLContext | None:
        """How to know the server; None without TLS. Raises Wrong for a file that holds no certificates."""
        if not self.tls:
            return None
        if self._pin:
            return _pinned(self._pin)
        try:
            return ssl.create_default_context(cafile=self._ca)
        except (OSError, ssl.SSLError) as error:
            raise Wrong(f"--tls-ca: {self._ca} cannot be used: {error}") from None


def _pinned(pin: str) -> ssl.SSLContext:
    """A context that knows one certificate, before a byte of the request, and so of the token, is sent."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            shown = self.getpeercert(binary_form=True)
            if shown is None or hashlib.sha256(shown).hexdigest() != pin:
                raise ssl.SSLCertVerificationError("the server shows another certificate than the pinned one")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    return context

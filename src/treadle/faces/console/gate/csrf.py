"""The server's own secret, and what it signs: anonymous session cookies and CSRF tokens (contract 2.1, 3.4).

Both are computed, not stored, so that asking for a token costs the store nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets

from treadle.core.documents import Collection
from treadle.core.errors import Conflict
from treadle.core.ports import Store, Tx
from treadle.faces.console.gate.credentials import same
from treadle.faces.console.gate.options import SECRET_BYTES

kept_secrets = Collection("console_secret", str)
"""The secret that this server made for itself, base64; the store lies in a folder that only its user can read."""

_KEY = "session"
_ANONYMOUS = re.compile(r"anon\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})\Z")


class Csrf:
    """Makes and knows the tokens of sessions, once `open` has the secret."""

    def __init__(self, store: Store, given: bytes) -> None:
        self._store = store
        self._secret = given

    async def open(self) -> None:
        """Have the secret: the one that was given, the one in the store, or a new one; cheap when it is there."""
        if not self._secret:
            fresh = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()

            def verb(tx: Tx) -> str:
                found = kept_secrets.get(tx, _KEY)
                if found is None:
                    kept_secrets.put(tx, _KEY, fresh, version=0)
                return found.value if found else fresh

            try:
                kept = await self._store.write(verb)
            except Conflict:  # another replica made it at the same moment
                kept = await self._store.write(verb)
            self._secret = base64.b64decode(kept)

    def token(self, session: str) -> str:
        """The CSRF token of a session: 256 bits, URL-safe."""
        return self._signed("csrf", session)

    def fits(self, token: str, session: str) -> bool:
        return same(token, self.token(session))

    def new_anonymous(self) -> tuple[str, str]:
        """A session for somebody unknown: its id, and the cookie that proves it."""
        name = secrets.token_urlsafe(32)
        return f"anon.{name}", f"anon.{name}.{self._signed('anonymous', name)}"

    def anonymous(self, cookie: str) -> str | None:
        """The id of the anonymous session whose cookie this is."""
        found = _ANONYMOUS.match(cookie)
        if found is None or not same(found[2], self._signed("anonymous", found[1])):
            return None
        return f"anon.{found[1]}"

    def mark(self, name: str, password: str) -> str:
        """What a login keeps of the user, so that it ends when the user or the password is another one."""
        return self._signed("user", f"{name}\0{password}")

    def _signed(self, purpose: str, text: str) -> str:
        signature = hmac.digest(self._secret, f"{purpose}\0{text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()

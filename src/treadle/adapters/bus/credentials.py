"""Who we say we are to a NATS server: an nkey, an nkey with its JWT, a user with a password, or a token, from a file.

An nkey is an Ed25519 key in base32 with a byte for its kind and a checksum; the seed never leaves its holder.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from treadle.core.errors import FabricError

USER = 20 << 3
SEED = 18 << 3
_SEED_LINE, _JWT_LINE = "BEGIN USER NKEY SEED", "BEGIN NATS USER JWT"


class CredentialsUnusable(FabricError):
    """The credentials of the bus cannot be used."""


@dataclass(frozen=True)
class Credentials:
    """What one file holds; nothing of it is shown."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    jwt: str | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)


def read_credentials(path: Path) -> Credentials:
    """A decorated `.creds` file, a file with an nkey seed (`SU…`), with `user:password`, or with a token.

    Raises CredentialsUnusable, which names the file and nothing that is in it.
    """
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise CredentialsUnusable(f"The credentials of the bus in {path} cannot be read: {why}") from None
    said = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if any(_JWT_LINE in line or _SEED_LINE in line for line in said):
        jwt, seed = _after(said, _JWT_LINE), _after(said, _SEED_LINE)
        if jwt is None or seed is None:
            raise CredentialsUnusable(f"The credentials of the bus in {path} lack the JWT or the seed of its user")
        return Credentials(jwt=jwt, seed=_checked(seed, path))
    if len(said) != 1:
        raise CredentialsUnusable(
            f"The credentials of the bus in {path} are none that are known: a .creds file, "
            f"or one line with an nkey seed, user:password or a token"
        )
    (line,) = said
    if line.startswith("SU") and len(line) == 58:
        return Credentials(seed=_checked(line, path))
    user, colon, password = line.partition(":")
    return Credentials(user=user, password=password) if colon else Credentials(token=line)


def new_seed() -> str:
    """The seed of a new user nkey."""
    return _coded(bytes([SEED | USER >> 5, (USER & 31) << 3]) + secrets.token_bytes(32))


def public_key(seed: str) -> str:
    """The public half of a user nkey: what a server is told."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.from_private_bytes(_secret(seed)).public_key()
    return _coded(bytes([USER]) + public.public_bytes_raw())


def is_public_key(text: str) -> bool:
    """Whether this is the public half of a user nkey."""
    try:
        raw = _decoded(text)
    except ValueError:
        return False
    return len(raw) == 33 and raw[0] == USER


def signature(seed: str, nonce: str) -> bytes:
    """The proof that we hold the seed, in base64 as the server takes it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(_secret(seed)).sign(nonce.encode()))


def _after(lines: list[str], mark: str) -> str | None:
    for line, following in pairwise(lines):
        if mark in line:
            return following
    return None


def _checked(seed: str, path: Path) -> str:
    try:
        _secret(seed)
    except ValueError:
        raise CredentialsUnusable(f"The credentials of the bus in {path} hold a damaged nkey seed") from None
    return seed


def _secret(seed: str) -> bytes:
    raw = _decoded(seed)
    if len(raw) != 34 or raw[0] & 0xF8 != SEED or (raw[0] & 7) << 5 | raw[1] >> 3 != USER:
        raise ValueError("not the seed of a user")
    return raw[2:]


def _coded(raw: bytes) -> str:
    checked = raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Raises ValueError where the text or its checksum is wrong."""
    checked = base64.b32decode(text + "=" * (-len(text) % 8))
    raw, checksum = checked[:-2], checked[-2:]
    if binascii.crc_hqx(raw, 0).to_bytes(2, "little") != checksum:
        raise ValueError("the checksum is wrong")
    return raw

"""The words of the Console's account pages and routes (contract 2.1, 3.3, 3.5)."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Label = Annotated[str, Meta(max_length=100)]
Word = Annotated[str, Meta(max_length=1024)]
Code = Annotated[str, Meta(max_length=64)]
Lifetime = Annotated[int, Meta(ge=1, le=10 * 366 * 24 * 3600)]
"""Seconds."""
Networks = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=1000)]
Level = Literal["access_denied", "access", "disabled"]


class Done(Struct):
    """It is done."""

    success: bool = True


class CsrfToken(Struct):
    """The token to send as `X-CSRF-Token`; empty when there is none."""

    success: bool
    csrf_token: str


class LoginQuery(Struct):
    """Where to go after the login."""

    next: Annotated[str, Meta(max_length=4096)] = ""


class LoginForm(Struct):
    """What the login pages send. `totp_code` is a code of the second factor, also a recovery code."""

    username: Word = ""
    password: Word = ""
    totp_code: Code = ""
    remember: Annotated[str, Meta(max_length=8)] = ""
    setup_code: Word = ""
    csrf_token: Word = ""
    next: Annotated[str, Meta(max_length=4096)] = ""


class LogoutForm(Struct):
    """The CSRF token, unless the header has it."""

    csrf_token: Word = ""


class Token(Struct):
    """A stored token without its secret; instants are UNIX seconds."""

    id: str
    user: str
    label: str
    created: int
    expiry: int | None


class TokenList(Struct):
    """The stored tokens, oldest first; `read_only` while UA_TOKEN is set."""

    success: bool
    tokens: list[Token]
    read_only: bool


class TokenRequest(Struct):
    """Make a token, or store one that was made with `persist` false. `expires_in` is seconds, never by default."""

    action: Literal["generate", "store"]
    label: Label = ""
    persist: bool = True
    token: Word = ""
    expires_in: Lifetime | None = None


class TokenMade(Struct):
    """The token, shown this once (none where the caller brought it), and whether it is stored."""

    success: bool
    token: str | None
    persisted: bool


class TokenId(Struct):
    """Which token."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]


class FactorStatus(Struct):
    """Whether the user has a second factor, and how many recovery codes are left."""

    success: bool
    enabled: bool
    recovery_codes_left: int


class FactorSetUp(Struct):
    """The secret in base32, the same as an otpauth address, and the recovery codes."""

    success: bool
    secret: str
    uri: str
    recovery_codes: list[str]


class FactorCode(Struct):
    """A code of the second factor."""

    code: Code


class FactorProof(Struct):
    """A code or the password; a login of the last ten minutes needs neither."""

    code: Code = ""
    password: Word = ""


class FactorEnabled(Struct):
    """It counts from now on; the recovery codes are shown for the last time."""

    success: bool
    recovery_codes: list[str]


class Banned(Struct):
    """An address that is kept out for a while; `until` is UNIX seconds."""

    address: str
    until: int


class IpControl(Struct):
    """Who may come (an empty list is everybody), who may not, who is banned for a while, and where you come from."""

    success: bool
    whitelist: list[str]
    blacklist: list[str]
    banned: list[Banned]
    your_address: str


class IpChange(Struct):
    """The lists as they shall be; one that is left out stays as it is."""

    whitelist: Networks | UnsetType = UNSET
    blacklist: Networks | UnsetType = UNSET


class AccessLevel(Struct):
    """How much the access log notes."""

    success: bool
    level: Level


class AccessLevelChange(Struct):
    """How much the access log shall note."""

    level: Level


class EntriesQuery(Struct):
    """How many entries, the newest."""

    n: Annotated[int, Meta(ge=1, le=200)] = 50


class AccessEntries(Struct):
    """The last entries of the access log."""

    success: bool
    entries: list[Any]

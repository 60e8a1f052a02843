"""Which user names and passwords a handshake can carry, and which are too easy to guess."""

import re

from treadle.core.errors import Fault, Invalid
from treadle.faces.architect.frames import PROTOCOL

SHORTEST, LONGEST = 12, 128
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,64}\Z")


def is_token(text: str) -> bool:
    """Whether a text can be an element of the sub-protocol header: a token of RFC 7230."""
    return _TOKEN.match(text) is not None


def check(name: str, password: str) -> None:
    """Raises Invalid for credentials that no client could send, or that are too easy to guess."""
    faults = []
    if _NAME.match(name) is None or name == PROTOCOL:
        faults.append(Fault("username", "1 to 64 letters, digits and !#$%&'*+-.^_`|~, and not SMP1.0"))
    if not is_token(password) or password in (PROTOCOL, name):
        faults.append(Fault("password", "letters, digits and !#$%&'*+-.^_`|~ only, neither SMP1.0 nor the user name"))
    elif not SHORTEST <= len(password) <= LONGEST or len(set(password)) < 5:
        faults.append(Fault("password", f"{SHORTEST} to {LONGEST} characters, at least five different ones"))
    if faults:
        raise Invalid(*faults)

"""Who may do what: a principal is somebody known, a grant is what a secret of theirs opens, a scope is one right.

Scopes are words joined by colons (`queue:claim`); a grant holds a scope if it lists it, a prefix of it ending in `:*`,
or `*`. Secrets are never stored: a grant keeps the SHA-256 of its token.
"""

import hashlib
from typing import Any

from msgspec import Struct

from .errors import Denied

GUARDED = {"run": "runs:start", "device": "devices:dispatch"}
"""Kinds of tasks that act on machines, and the right without which nobody makes, changes or ends them."""
GUARDED_PROJECTS = {"runs": "run", "devices": "device"}
"""Projects that hold such tasks: whoever closes or removes one ends them."""
PUBLIC = "public"
"""The scope of a route that needs nobody: anyone holds it."""


class Principal(Struct, frozen=True):
    """Somebody who asks: a name, the face they came through, what they may do, and the grant they showed, if any."""

    name: str
    face: str
    scopes: tuple[str, ...] = ()
    grant: str | None = None
    project: str | None = None

    def holds(self, scope: str) -> bool:
        return scope == PUBLIC or any(covers(held, scope) for held in self.scopes)


class Grant(Struct, frozen=True, kw_only=True):
    """What one secret opens, for whom and until when; a login session, a worker's key and the local key are grants.

    Instants are microseconds UTC. `data` is the holder's own free-form object.
    """

    id: str
    digest: str
    kind: str
    principal: str
    face: str
    project: str | None = None
    scopes: tuple[str, ...] = ()
    created: int
    used: int
    expires: int | None = None
    data: dict[str, Any] = {}

    def live(self, now: int) -> bool:
        return self.expires is None or now < self.expires

    def opens_for(self) -> Principal:
        return Principal(name=self.principal, face=self.face, scopes=self.scopes, grant=self.id, project=self.project)


def covers(held: str, scope: str) -> bool:
    """Whether the held scope includes the asked one."""
    return held in ("*", scope) or (held.endswith(":*") and scope.startswith(held[:-1]))


def guard(kind: str, by: Principal) -> None:
    """Raise Denied where this principal may not make, change or end tasks of the kind."""
    scope = GUARDED.get(kind)
    if scope and not by.holds(scope):
        raise Denied(f"Tasks of the kind {kind} need the right {scope}: show a key that has it")


def guard_project(name: str, by: Principal) -> None:
    """Raise Denied where this principal may not make, change or remove the project of this name."""
    guard(GUARDED_PROJECTS.get(name, ""), by)


def digest(token: str) -> str:
    """The form in which a token is stored and looked up: its SHA-256, hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()

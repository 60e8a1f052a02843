"""Grants in the store: a secret is opened, shown, prolonged and closed.

What a secret opens is kept at hand, so checking it costs no statement; another replica learns of a closed grant within
a second. When a grant was last used is written at most every few seconds.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from .access import Grant, digest
from .at_hand import AtHand
from .clock import SECOND, Clock
from .documents import Collection
from .errors import NotFound
from .events import Event
from .ids import Ids, new_secret
from .ports import Store, Tx

grants = Collection("grant", Grant)
"""All grants by the digest of their secret, grouped by project."""

holders = Collection("holder", list[str])
"""The digests that one principal holds, by kind, project and name; so that looking them up reads no one else's."""

TOUCH_EVERY = 5 * SECOND


class Grants:
    """Open, check, change and close what secrets give access to."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids
        self._at_hand = AtHand[Grant](store, clock, grants.get_many)
        self._used: dict[str, int] = {}

    async def open(
        self,
        *,
        kind: str,
        principal: str,
        face: str,
        scopes: tuple[str, ...],
        project: str | None = None,
        lifetime: int | None = None,
        data: dict[str, Any] | None = None,
        alone: bool = False,
        secret: str | None = None,
    ) -> tuple[Grant, str]:
        """A new grant and its secret, shown this once. With `alone` it ends the principal's others of its kind.

        `lifetime` is in microseconds; None means until closed.
        """
        token = secret or new_secret()
        now = self._clock()
        grant = Grant(
            id=self._ids(),
            digest=digest(token),
            kind=kind,
            principal=principal,
            face=face,
            project=project,
            scopes=scopes,
            created=now,
            used=now,
            expires=None if lifetime is None else now + lifetime,
            data=data or {},
        )

        def verb(tx: Tx) -> None:
            if alone:
                for other in _of(tx, kind, principal, project):
                    self._close(tx, other, now)
            self._put(tx, grant)
            tx.append_events([Event("grant.opened", grant.id, now, project, {"principal": principal, "face": face})])

        await self._store.write(verb)
        return grant, token

    async def check(self, token: str) -> Grant | None:
        """The live grant that this secret opens; also notes that it was used."""
        key = digest(token)
        grant = await self._at_hand.get(key)
        now = self._clock()
        if grant is None or not grant.live(now):
            return None
        if now - grant.used > TOUCH_EVERY:
            self._used[key] = now
        return grant

    def last_used(self, grant: Grant) -> int:
        return max(grant.used, self._used.get(grant.digest, 0))

    async def latest(self, *, kind: str, principal: str, project: str | None) -> Grant | None:
        """The most recently used live grant of this kind, principal and project."""

        def query(tx: Tx) -> list[Grant]:
            return _of(tx, kind, principal, project)

        now = self._clock()
        live = [grant for grant in await self._store.read(query) if grant.live(now)]
        return max(live, key=self.last_used, default=None)

    async def add_secret(self, grant: Grant) -> str:
        """One more secret for the same grant; the old one stays valid."""
        token = new_secret()
        twin = replace(grant, digest=digest(token), used=self._clock())
        await self._store.write(lambda tx: self._put(tx, twin))
        return token

    async def change(self, grant: Grant, rule: Callable[[Grant], Grant]) -> Grant:
        """Apply a rule (another `expires` or `data`) to a grant as it stands, under all its secrets."""

        def verb(tx: Tx) -> Grant:
            changed = [rule(same) for same in _same(tx, grant)]
            if not changed:
                raise NotFound("Session", grant.id)
            for same in changed:
                self._put(tx, same)
            return changed[0]

        changed = await self._store.write(verb)
        self._at_hand.forget_all()
        return changed

    async def close(self, grant: Grant) -> None:
        """End a grant under all its secrets; closing it again is no fault."""

        def verb(tx: Tx) -> None:
            now = self._clock()
            for same in _same(tx, grant):
                self._close(tx, same, now)

        await self._store.write(verb)

    async def write_used(self) -> None:
        """Write down when grants were last used, for those used lately."""
        used, self._used = self._used, {}
        if not used:
            return

        def verb(tx: Tx) -> None:
            for key, at in used.items():
                stored = grants.get(tx, key)
                if stored:
                    used_at = replace(stored.value, used=max(at, stored.value.used))
                    grants.put(tx, key, used_at, group=used_at.project or "", expires=used_at.expires)

        await self._store.write(verb)
        for key in used:
            self._at_hand.drop(key)

    async def count_live(self, kind: str) -> int:
        """How many grants of a kind are open now."""
        now = self._clock()
        found = await self._store.read(_all)
        return len({grant.id for grant in found if grant.kind == kind and grant.live(now)})

    def learn(self, event: Event) -> None:
        """Forget what a fact says is no longer so."""
        if event.kind in ("grant.closed", "project.deleted"):
            self._at_hand.forget_all()

    def _put(self, tx: Tx, grant: Grant) -> None:
        group = grant.project or ""
        grants.put(tx, grant.digest, grant, group=group, expires=grant.expires)
        key = _holder(grant.kind, grant.principal, grant.project)
        held = holders.get(tx, key)
        alive = {**grants.get_many(tx, held.value), grant.digest: grant} if held else {grant.digest: grant}
        ends = [each.expires for each in alive.values()]
        until = None if None in ends else max(end for end in ends if end is not None)
        holders.put(tx, key, list(alive), group=group, expires=until)

    def _close(self, tx: Tx, grant: Grant, now: int) -> None:
        grants.delete(tx, grant.digest)
        told = {"principal": grant.principal}
        tx.append_events([Event("grant.closed", grant.id, now, grant.project, told)])


def _holder(kind: str, principal: str, project: str | None) -> str:
    return f"{kind}/{project or ''}/{principal}"


def _of(tx: Tx, kind: str, principal: str, project: str | None) -> list[Grant]:
    held = holders.get(tx, _holder(kind, principal, project))
    return list(grants.get_many(tx, held.value).values()) if held else []


def _same(tx: Tx, grant: Grant) -> list[Grant]:
    return [held for held in _of(tx, grant.kind, grant.principal, grant.project) if held.id == grant.id]


def _all(tx: Tx) -> list[Grant]:
    found: list[Grant] = []
    after = ""
    while page := grants.page(tx, after=after, limit=500):
        found += [stored.value for stored in page]
        after = page[-1].key
    return found

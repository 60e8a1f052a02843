"""The settings of this face that change while it runs (spec 9): stored ones take the place of those given at start."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from treadle.core.documents import Collection
from treadle.core.errors import Invalid
from treadle.core.fabric import Fabric
from treadle.core.ports import Tx
from treadle.faces.architect.events import fact
from treadle.faces.architect.options import Options
from treadle.web.faults import faults

_KEY = "conduct"


class Conduct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this agent treats those who connect; the names are the vendor's."""

    fail2ban_attempts: Annotated[int, Meta(ge=1, le=1000)] = 5
    fail2ban_ban_time: Annotated[int, Meta(ge=1, le=86_400)] = 60
    disable_remote_root: bool = False
    audit_logs_retention: Annotated[int, Meta(ge=1, le=3650)] = 7


conducts = Collection("architect_conduct", dict[str, Any])


class Conducting:
    """The conduct of now."""

    def __init__(self, fabric: Fabric, options: Options) -> None:
        self._store, self._clock, self._version = fabric.store, fabric.clock, options.version
        self.given = Conduct(
            fail2ban_attempts=options.attempts,
            fail2ban_ban_time=options.ban_seconds,
            disable_remote_root=options.disable_remote_root,
            audit_logs_retention=options.retention,
        )
        self.now = self.given
        self.stored: frozenset[str] = frozenset()

    async def load(self) -> None:
        """Takes over what is stored."""
        found = await self._store.read(lambda tx: conducts.get(tx, _KEY))
        self._take(found.value if found else {})

    async def change(self, changes: dict[str, Any], by: str) -> list[str]:
        """Stores other settings; the names of those that changed. Raises Invalid."""
        wrong = faults({**msgspec.to_builtins(self.given), **changes}, msgspec.inspect.type_info(Conduct))
        if wrong:
            raise Invalid(*wrong)
        before, now = self.now, self._clock()

        def verb(tx: Tx) -> dict[str, Any]:
            found = conducts.get(tx, _KEY)
            kept = {**(found.value if found else {}), **changes}
            conducts.put(tx, _KEY, kept)
            tx.append_events([fact("agent.config_changed", self._version, now, by=by, changed=sorted(changes))])
            return kept

        self._take(await self._store.write(verb))
        return [name for name in Conduct.__struct_fields__ if getattr(before, name) != getattr(self.now, name)]

    def _take(self, stored: dict[str, Any]) -> None:
        self.now = msgspec.convert({**msgspec.to_builtins(self.given), **stored}, Conduct)
        self.stored = frozenset(stored)

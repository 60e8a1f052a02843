"""A fabric of its own for each test, with the local key in it, and a way to make Consoles on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.faces.console.gate.browsing import KEY, PASSWORD, USER, Console, Hands
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def fabric(tmp_path: Path, hands: Hands) -> AsyncIterator[Fabric]:
    def report(_: str, error: Exception) -> None:
        raise error

    store = await open_sqlite(tmp_path / "treadle.db")
    fabric = Fabric(store, LocalBus(), hands, new_id, unprinted(hands), report=report)
    await fabric.grants.open(kind="key", principal="local", face="fabric", scopes=("*",), secret=KEY)
    try:
        yield fabric
    finally:
        await store.close()


Make = Callable[..., Console]


@pytest.fixture
def make(fabric: Fabric, hands: Hands) -> Make:
    """A Console with these options."""
    return lambda **options: Console(fabric, hands, **options)


@pytest.fixture
def console(make: Make) -> Console:
    """One that has a user in its settings."""
    return make(username=USER, password=PASSWORD)

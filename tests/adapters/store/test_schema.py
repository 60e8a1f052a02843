"""The schema on every store: made once, upgraded at start, refused when it is newer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import psycopg
import pytest

from tests.adapters.conftest import OpenStore
from tests.adapters.replica import Replica
from treadle.adapters.store import queries
from treadle.core.errors import StoreTooNew


def written_by_the_future(path: Path, url: str | None) -> None:
    if url:
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE treadle SET version = version + 1")
    else:
        file = apsw.Connection(str(path))
        file.execute(f"PRAGMA user_version = {file.pragma('user_version') + 1}")
        file.close()


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str | None:
    given: str | None = (
        request.getfixturevalue("fresh_url") if request.node.callspec.params["open_store"] == "postgres" else None
    )
    return given


async def test_opening_again_changes_nothing(open_store: OpenStore) -> None:
    replica = Replica(await open_store())
    looms = await replica.project()
    made = await replica.submit(looms)
    await replica.store.close()
    again = Replica(await open_store())
    assert await again.fabric.tasks.get(made[0].id) == made[0]


async def test_a_newer_store_is_refused(open_store: OpenStore, url: str | None, tmp_path: Path) -> None:
    store = await open_store()
    await store.close()
    written_by_the_future(tmp_path / "treadle.db", url)
    with pytest.raises(StoreTooNew, match="newer Treadle"):
        await open_store()


async def test_a_step_is_taken_once_by_whoever_comes_first(
    open_store: OpenStore, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(await open_store())
    looms = await replica.project()
    await replica.store.close()
    real = queries.steps

    def with_one_more(package: str) -> list[str]:
        return [*real(package), "CREATE TABLE looms (id integer); INSERT INTO looms SELECT count(*) FROM projects;"]

    for module in ("treadle.adapters.store.sqlite.store.steps", "treadle.adapters.store.postgres.schema.steps"):
        monkeypatch.setattr(module, with_one_more)
    for store in await asyncio.gather(*[open_store() for _ in range(4 if url else 1)]):
        assert (await Replica(store).fabric.projects.get("looms")).project == looms


async def test_a_step_that_fails_leaves_the_store_as_it_was(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    await store.close()
    real = queries.steps
    with monkeypatch.context() as patch:
        for module in ("treadle.adapters.store.sqlite.store.steps", "treadle.adapters.store.postgres.schema.steps"):
            patch.setattr(module, lambda package: [*real(package), "CREATE TABLE half (id integer); SELECT nonsense;"])
        with pytest.raises(Exception, match="nonsense"):
            await open_store()
    for module in ("treadle.adapters.store.sqlite.store.steps", "treadle.adapters.store.postgres.schema.steps"):
        monkeypatch.setattr(module, lambda package: [*real(package), "CREATE TABLE half (id integer);"])
    await open_store()

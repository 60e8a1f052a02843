"""How PostgreSQL finds the rows: every hot statement walks the index meant for it, with statistics and without."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.adapters.replica import Replica
from tests.core.stage import ANN
from treadle.adapters.store.postgres import pages
from treadle.adapters.store.postgres.address import Address
from treadle.adapters.store.postgres.tx import COLUMNS, WRITING
from treadle.core.ports import Filter
from treadle.core.submitting import NewTask
from treadle.core.tasks import State

pytestmark = pytest.mark.needs("postgres")

EXPECTED = {
    "claimable": {"task_claimable", "tasks_pkey"},
    "expired": {"task_leased", "tasks_pkey"},
    "held": {"task_held", "tasks_pkey"},
    "tasks": {"tasks_id_key", "progress_pkey"},
    "twins": {"task_twin", "progress_pkey"},
    "ripen": {"task_waiting", "progress_pkey"},
    "save_tasks": {"progress_pkey"},
    "rewrite_tasks": {"progress_pkey", "tasks_pkey"},
    "has_tasks": {"task_twin"},
    "count_claimable": {"task_waiting", "task_leased", "task_held", "tallies_pkey"},
    "activity": {"task_finished"},
    "workers": {"task_leased", "task_held"},
    "delete_project_tasks": {"task_created", "progress_pkey", "tasks_pkey"},
    "events_after": {"events_pkey"},
    "last_event": {"events_pkey"},
    "prune_events": {"events_pkey"},
    "documents": {"documents_pkey"},
    "list_group": {"document_group"},
    "prune_documents": {"document_expiry"},
    "aliases": {"aliases_pkey"},
    "alias": {"aliases_pkey", "tasks_id_key"},
    "projects": {"projects_id_key", "projects_name_key"},
    "types": {"types_id_key"},
    "types_named": {"types_id_key", "types_project_name_key"},
}
INDEX = re.compile(r"Index (?:Only )?Scan (?:Backward )?using (\w+)")
IN_ORDER = {"claimable", "expired", "events_after"}
"""These stop after their limit, so nothing may be sorted first."""


@pytest.fixture
async def filled(replicas: tuple[Replica, Replica]) -> Replica:
    replica = replicas[0]
    looms = await replica.project()
    for _ in range(3):
        await replica.submit(looms, *[NewTask(priority=n % 3, batch=f"b{n % 50}") for n in range(1000)])
    for place, task in enumerate(await replica.claim(looms, count=300)):
        if place % 3:
            await replica.finish(task)
    await replica.fabric.tasks.cancel((await replica.claim(looms))[0].id, ANN)
    return replica


def plan(connection: psycopg.Connection, sql: str) -> str:  # type: ignore[type-arg]
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode()))


@pytest.mark.parametrize("analysed", [False, True])
async def test_statements_walk_their_index(filled: Replica, fresh_url: str, analysed: bool) -> None:
    with Address(fresh_url).connect() as connection:
        if connection.info.server_version < 160000:
            pytest.skip("EXPLAIN (GENERIC_PLAN) came with PostgreSQL 16")
        if analysed:
            connection.execute("ANALYZE")
        for name, indexes in EXPECTED.items():
            seen = plan(connection, WRITING[name])
            assert "Seq Scan" not in seen.replace("Subquery Scan", ""), (name, seen)
            walked = set(INDEX.findall(seen))
            assert walked, (name, seen)
            assert walked <= indexes, (name, seen)
            assert (name in IN_ORDER and "Sort" in seen) is False, (name, seen)


@pytest.mark.parametrize("analysed", [False, True])
async def test_pages_are_counted_off_in_one_index(filled: Replica, fresh_url: str, analysed: bool) -> None:
    lists_and_indexes: list[tuple[Filter, State | None, str]] = [
        (Filter(project="p"), None, "Only Scan using task_created"),
        (Filter(project="p"), "failed", "Only Scan using task_listed"),
        (Filter(project="p", batch="b"), None, "Only Scan using task_batch"),
        (Filter(project="p", batch="b"), "queued", "Scan using task_batch"),
        (Filter(project="p", type="t"), "queued", "Scan using task_listed"),
        (Filter(project="p", type="t"), None, "Scan using task_created"),
    ]
    with Address(fresh_url).connect() as connection:
        if connection.info.server_version < 160000:
            pytest.skip("EXPLAIN (GENERIC_PLAN) came with PostgreSQL 16")
        if analysed:
            connection.execute("ANALYZE")
        for which, state, index in lists_and_indexes:
            sql, _ = pages.page(which, state, COLUMNS)
            page = plan(connection, sql)
            found = page[page.index("Limit") :]  # the page itself; its rows are sorted when they have been fetched
            assert f"{index} " in found, (which, state, page)
            assert "Sort" not in found, (which, state, page)
            assert set(INDEX.findall(page)) <= {index.split()[-1], "tasks_pkey", "progress_pkey"}, page

"""What verbs cost on every store: the same statements whatever the number of calls or tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby

import pytest

from tests.adapters.replica import DONE, Replica
from tests.core.stage import ANN
from treadle.adapters.store.postgres.line import Line
from treadle.adapters.store.sqlite import SqliteStore
from treadle.core import leases, submitting
from treadle.core.catalogue import NewType
from treadle.core.clock import SECOND
from treadle.core.ids import new_id
from treadle.core.ports import Store, Tx
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold

Verb = Callable[[Tx], object]


@contextmanager
def counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that run meanwhile; one that runs over many rows counts once."""
    seen: list[str] = []
    with monkeypatch.context() as patch:
        if isinstance(store, SqliteStore):
            connection = store._connection
            connection.exec_trace = lambda _cursor, sql, _values: bool(seen.append(sql)) or True
            yield seen
            connection.exec_trace = None
        else:
            tell = Line.tell
            patch.setattr(Line, "tell", lambda line, sql, *values: (seen.append(sql), tell(line, sql, *values))[1])
            yield seen
    seen[:] = [sql for sql, _ in groupby(seen)]


async def cost(replica: Replica, monkeypatch: pytest.MonkeyPatch, verb: Verb) -> list[str]:
    with counted(replica.store, monkeypatch) as seen:
        await replica.store.write(verb)
    return seen


async def test_claims_cost_the_same_however_many(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="weave"))
    await replica.submit(looms, *[NewTask(type="weave") for _ in range(200)])

    def claims(callers: int, count: int) -> Verb:
        calls = [
            leases.Claim(project=looms.id, worker=new_id(), count=count, resume=True, holder="h")
            for _ in range(callers)
        ]
        return lambda tx: leases.claim(tx, calls, replica.clock(), new_id)

    _, one, many_tasks, many_calls = [  # the first one also learns what projects and types there are
        await cost(replica, monkeypatch, claims(*asked)) for asked in ((1, 1), (1, 1), (1, 50), (40, 1))
    ]
    assert one == many_tasks == many_calls
    assert 0 < len(one) < 20


async def test_endings_cost_the_same_however_many(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask() for _ in range(60)])
    held = await replica.claim(looms, count=60)

    def ends(first: int, last: int) -> Verb:
        calls = [leases.Finish(task=task.id, by=Hold(fence=task.fence), result=DONE) for task in held[first:last]]
        return lambda tx: leases.finish(tx, calls, replica.clock())

    one, many = [await cost(replica, monkeypatch, ends(*those)) for those in ((0, 1), (1, 60))]
    assert one == many


async def test_submits_cost_the_same_however_many(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="weave", template="{{n}}", duplicates="fail"))
    numbers = iter(range(1_000_000))

    def submits(callers: int, count: int) -> Verb:
        calls = [
            Submit(
                project=looms.id,
                tasks=[NewTask(type="weave", name=f"n{n}", variables={"n": n}) for n, _ in zip(numbers, range(count))],  # noqa: B905
                by=ANN,
            )
            for _ in range(callers)
        ]
        return lambda tx: submitting.submit(tx, calls, replica.clock(), new_id)

    _, one, bulk, many = [
        await cost(replica, monkeypatch, submits(*asked)) for asked in ((1, 1), (1, 1), (1, 100), (40, 1))
    ]
    assert one == bulk == many


async def test_a_sweep_costs_the_same_however_many(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask() for _ in range(41)])

    async def swept(count: int) -> list[str]:
        await replica.claim(looms, count=count, lease=SECOND)
        replica.clock.advance(1)
        return await cost(replica, monkeypatch, lambda tx: leases.sweep(tx, looms.id, replica.clock()))

    assert await swept(1) == await swept(40)

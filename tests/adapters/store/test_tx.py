"""A transaction's own methods on every store, where no verb shows them whole."""

from __future__ import annotations

from msgspec.structs import replace

from tests.adapters.replica import Replica
from treadle.core.catalogue import NewType
from treadle.core.ports import Filter, Tx
from treadle.core.projects import Tally
from treadle.core.submitting import NewTask
from treadle.core.tasks import Attempt, Lease, Result, Task


async def test_nothing_asked_is_nothing_done(replica: Replica) -> None:
    def nothing(tx: Tx) -> list[object]:
        tx.save_tasks([])
        tx.rewrite_tasks([])
        tx.delete_tasks([])
        tx.add_tallies({})
        tx.append_events([])
        tx.put_aliases("f", "s", {})
        return [
            tx.insert_tasks([]), tx.tasks([]), tx.twins([]), tx.held("p", []), tx.projects([]), tx.tallies([]),
            tx.aliases("f", "s", []), tx.documents("c", []), tx.delete_documents("c", []), tx.delete_group("c", "g"),
        ]  # fmt: skip

    assert await replica.store.write(nothing) == [[], {}, [], [], {}, {}, {}, [], 0, []]


async def test_every_field_that_rules_change_is_kept(replica: Replica) -> None:
    looms = await replica.project()
    (task,) = await replica.submit(looms)
    attempt = Attempt("a1", "ann", 7, 10, 20, "failed", 15, Result(ok=False, error="e\x00", outputs={"x": [1]}))
    changed = replace(
        task,
        state="running",
        retries=3,
        fence=7,
        lease=Lease("ann", 99, "s2", ("s1", 's"0\\')),
        updated=50,
        assigned=49,
        finished=48,
        result=Result(ok=True, output={"deep": [None, "✓"]}, retry=True),
        attempts=(attempt, Attempt("a2", "ann", 8, 30, 99)),
        not_before=123,
    )
    await replica.store.write(lambda tx: tx.save_tasks([changed]))
    assert await replica.fabric.tasks.get(task.id) == changed
    await replica.store.write(lambda tx: tx.save_tasks([task]))
    assert await replica.fabric.tasks.get(task.id) == task


async def test_changes_of_many_tasks_reach_each_its_own(replica: Replica) -> None:
    looms = await replica.project()
    made = await replica.submit(looms, *[NewTask() for _ in range(200)])
    changed = [replace(task, retries=n, state="failed", finished=n) for n, task in enumerate(reversed(made))]
    rewritten = [replace(task, variables={"n": n}, description=str(n), updated=n) for n, task in enumerate(changed)]

    def both(tx: Tx) -> None:
        tx.save_tasks(changed)
        tx.rewrite_tasks(rewritten)

    await replica.store.write(both)
    found = await replica.store.read(lambda tx: tx.tasks([task.id for task in made] + ["no such"]))
    assert found == {task.id: task for task in rewritten}


async def test_twins_are_compared_and_not_only_hashed(replica: Replica) -> None:
    looms = await replica.project()
    weave = await replica.type(looms, NewType(name="weave"))
    made = await replica.submit(looms, *[NewTask(type="weave", variables={"n": n % 3}) for n in range(9)])
    asked = [(weave.id, {"n": 1}), (weave.id, {"n": 1}), (weave.id, {"n": 7}), ("other", {"n": 2})]
    assert await replica.store.write(lambda tx: tx.twins(asked)) == [made[1], made[4], made[7]]
    await replica.store.write(lambda tx: tx.save_tasks([replace(made[1], state="failed")]))
    assert await replica.store.write(lambda tx: tx.twins(asked)) == [made[4], made[7]]


async def test_many_twins_at_once(replica: Replica) -> None:
    looms = await replica.project()
    await replica.type(looms, NewType(name="once", duplicates="ignore"))
    new = [NewTask(type="once", variables={"n": n}) for n in range(700)]
    made = await replica.submit(looms, *new)
    assert await replica.submit(looms, *new) == made


async def test_expired_leases_come_oldest_first(replica: Replica) -> None:
    looms = await replica.project()
    made = await replica.submit(looms, *[NewTask() for _ in range(6)])
    ends = [50, 20, 40, 10, 30, 60]
    running = [replace(task, state="running", lease=Lease("w", end)) for task, end in zip(made, ends, strict=True)]
    await replica.store.write(lambda tx: tx.save_tasks(running))

    def look(tx: Tx) -> tuple[list[int], list[int]]:
        lists = tx.expired(looms.id, 50, 3), tx.expired(looms.id, 50, 99)
        first, everything = ([task.lease.until for task in found if task.lease] for found in lists)
        return first, everything

    assert await replica.store.write(look) == ([10, 20, 30], [10, 20, 30, 40, 50])


async def test_held_are_those_of_the_named_workers_oldest_first(replica: Replica) -> None:
    looms = await replica.project()
    await replica.submit(looms, *[NewTask() for _ in range(6)])
    taken = [(await replica.claim(looms, worker))[0] for worker in ("ann", "bob", "cid", "ann")]
    held = await replica.store.write(lambda tx: tx.held(looms.id, ["ann", "cid", "dan"]))
    assert held == [taken[0], taken[2], taken[3]]


async def test_counters_add_up(replica: Replica) -> None:
    def add(tx: Tx) -> None:
        tx.add_tallies({("p", "queued"): 5, ("p", "running"): -1, ("q", "failed"): 2})
        tx.add_tallies({("p", "queued"): -2})

    await replica.store.write(add)
    await replica.store.write(add)
    found = await replica.store.read(lambda tx: tx.tallies(["p", "q", "r"]))
    assert found == {"p": Tally(queued=6, running=-2), "q": Tally(failed=4)}


async def test_a_name_can_move_to_another_task(replica: Replica) -> None:
    looms = await replica.project()
    first, second = await replica.submit(looms, NewTask(name="x"), NewTask())

    def move(tx: Tx) -> None:
        tx.put_aliases("native", looms.id, {"x": second.id, "y": first.id})

    await replica.store.write(move)
    found = await replica.store.read(lambda tx: tx.aliases("native", looms.id, ["x", "y", "z"]))
    assert found == {"x": second.id, "y": first.id}
    await replica.store.write(lambda tx: tx.delete_tasks([first.id]))  # it takes along only the name that is its own
    found = await replica.store.read(lambda tx: tx.aliases("native", looms.id, ["x", "y"]))
    assert found["x"] == second.id
    assert await replica.store.read(lambda tx: tx.alias("native", None, "y")) is None


async def test_a_type_has_tasks_or_not(replica: Replica) -> None:
    looms = await replica.project()
    weave = await replica.type(looms, NewType(name="weave"))
    assert await replica.store.read(lambda tx: tx.has_tasks(weave.id)) is False
    await replica.submit(looms, NewTask(type="weave"))
    assert await replica.store.read(lambda tx: tx.has_tasks(weave.id)) is True


async def test_a_projects_tasks_go_in_portions(replica: Replica) -> None:
    looms, other = await replica.project(), await replica.project("other")
    await replica.submit(looms, *[NewTask() for _ in range(5)])
    kept: list[Task] = await replica.submit(other)
    gone = [await replica.store.write(lambda tx: tx.delete_project_tasks(looms.id, 3)) for _ in range(3)]
    assert gone == [3, 2, 0]
    assert await replica.fabric.tasks.page(Filter(project=other.id)) == kept

"""What a queue has promised: every acknowledgement that its callers got, to be held against what is found later."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import apsw
from msgspec import Struct

from tests.core.books import Books, open_books
from tests.core.facts import Told
from tests.unprinted import unprinted
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.store.sqlite import open_sqlite
from treadle.core.access import Principal
from treadle.core.clock import MINUTE, SteadyClock
from treadle.core.fabric import Fabric
from treadle.core.ids import new_id
from treadle.core.leases import Claim, Finish
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result, Task

ANN = Principal("ann", "native")


class Ack(Struct, frozen=True):
    """One answer that a caller got: a task made (with its number), taken (with its fence) or done."""

    what: Literal["made", "taken", "done"]
    task: str
    number: int


async def open_fabric(path: Path, vfs: str | None = None) -> Fabric:
    """The real fabric on this file with the real clock; close its `store`."""
    store = await open_sqlite(path, vfs=vfs)

    def report(duty: str, error: Exception) -> None:
        raise AssertionError(duty) from error

    return Fabric(store, LocalBus(), SteadyClock(), new_id, unprinted(SteadyClock()), report=report)


async def make(fabric: Fabric, project: str, number: int) -> Ack:
    """A task of this number: one, however often it is asked for."""
    new = NewTask(variables={"number": number}, max_retries=1000)
    (made,) = await fabric.tasks.submit(Submit(project=project, tasks=[new], by=ANN, key=f"make-{number}"))
    assert isinstance(made, Task), made
    return Ack("made", made.id, number)


async def take(fabric: Fabric, project: str, worker: str, lease: int = 10 * MINUTE) -> Ack | None:
    """The next task, if there is one; the number is its fence."""
    taken = await fabric.tasks.claim(Claim(project=project, worker=worker, lease=lease))
    return Ack("taken", taken[0].id, taken[0].fence) if taken else None


async def finish(fabric: Fabric, taken: Ack) -> Ack:
    """The end of the task that was taken; its output is the fence under which it was done."""
    result = Result(ok=True, output=taken.number)
    await fabric.tasks.finish(Finish(task=taken.task, by=Hold(fence=taken.number), result=result))
    return Ack("done", taken.task, taken.number)


def broken(acks: list[Ack], books: Books) -> list[Ack]:
    """The acknowledgements that the books know nothing of."""
    tasks = books.every_task()

    def kept(ack: Ack) -> bool:
        task = tasks.get(ack.task)
        if task is None:
            return False
        if ack.what == "made":
            return task.variables == {"number": ack.number}
        if ack.what == "taken":
            return task.fence >= ack.number
        return task.state == "succeeded" and task.result is not None and task.result.output == ack.number

    return [ack for ack in acks if not kept(ack)]


async def check_file(path: Path, acks: list[Ack]) -> Books:
    """Open what was left of a store, in the ordinary way: it is sound, it holds all that was promised and no double."""
    fabric = await open_fabric(path)
    try:
        books = await open_books(fabric.store, fabric.clock())
        books.balance(Told())
        assert broken(acks, books) == []
        numbers = Counter(task.variables["number"] for task in books.every_task().values())
        assert all(count == 1 for count in numbers.values())
        ended = Counter(event.subject for event in books.events if event.kind == "task.succeeded")
        assert all(count == 1 for count in ended.values())
        for project in books.projects:  # and it works on
            await make(fabric, project, 1_000_000 + len(numbers))
            taken = await take(fabric, project, "afterwards")
            assert taken is not None
            await finish(fabric, taken)
    finally:
        await fabric.store.close()
    with apsw.Connection(str(path)) as file:
        assert file.execute("PRAGMA quick_check").get == "ok"
    file.close()
    return books

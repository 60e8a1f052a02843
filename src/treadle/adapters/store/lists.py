"""How a list of tasks is read: from one index each, so that a page costs what it shows and what it skips."""

import heapq
from collections.abc import Callable, Iterable
from itertools import islice

from treadle.core.ports import Filter
from treadle.core.tasks import State, Task


def narrowed(which: Filter, state: State | None) -> tuple[str, dict[str, str]]:
    """The conditions of a list as SQL with named parameters, and their values."""
    values = {"project": which.project}
    conditions = ["project = :project"]
    if which.worker is not None:
        conditions.append("worker = :worker AND state = 'running'")
        values["worker"] = which.worker
    if state is not None:
        conditions.append("state = :state")
        values["state"] = state
    if which.batch is not None:
        conditions.append("batch = :batch")
        values["batch"] = which.batch
    if which.type is not None:
        conditions.append("type = :type")
        values["type"] = which.type
    return " AND ".join(conditions), values


def index_for(which: Filter, state: State | None) -> str:
    """The index that narrows most and already lies in creation order."""
    if which.worker is not None:
        return "task_held"
    if which.batch is not None:
        return "task_batch"
    return "task_created" if state is None else "task_listed"


def merged(which: Filter, limit: int, offset: int, read: Callable[[State | None, int], Iterable[Task]]) -> list[Task]:
    """A page over several states: each is read in creation order by itself and the heads are merged."""
    states = which.states or (None,)
    heads = [read(state, limit + offset) for state in states]
    return list(islice(heapq.merge(*heads, key=lambda task: task.seq), offset, offset + limit))

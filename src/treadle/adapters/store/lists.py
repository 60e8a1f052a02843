"""How a list of tasks is read: from one index each, so that a page costs what it shows and what it skips."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from treadle.core.ports import Filter
from treadle.core.projects import Tally
from treadle.core.tasks import STATES, State, Task


def narrowed(which: Filter, state: State | None, equals: Callable[[str, int], str]) -> tuple[str, list[str]]:
    """The conditions of a list as SQL, and their values; `equals` writes that a column equals the n-th parameter."""
    asked = {"project": which.project, "worker": which.worker, "state": state, "batch": which.batch, "type": which.type}
    given = {column: value for column, value in asked.items() if value is not None}
    conditions = [equals(column, place) for place, column in enumerate(given, 1)]
    if which.worker is not None:
        conditions.append("state = 'running'")  # as a constant, so that the index of running tasks may serve
    return " AND ".join(conditions), list(given.values())


def index_for(which: Filter, state: State | None) -> str:
    """The index that narrows most and already lies in creation order."""
    if which.worker is not None:
        return "task_held"
    if which.batch is not None:
        return "task_batch"
    return "task_created" if state is None else "task_listed"


def merged(
    which: Filter, limit: int, offset: int, read: Callable[[State | None, int, int], Iterable[Task]]
) -> list[Task]:
    """A page over several states: each is read in creation order by itself and the heads are merged.

    `read` gives so many tasks of one state (None: of all) after skipping so many.
    """
    if which.states is None or len(which.states) == 1:
        return list(read(which.states[0] if which.states else None, limit, offset))
    heads = [read(state, limit + offset, 0) for state in which.states]
    return list(islice(heapq.merge(*heads, key=lambda task: task.seq), offset, offset + limit))


def told_by_tally(which: Filter) -> bool:
    """Whether the project's counters know how long a list is."""
    return which.worker is None and which.batch is None and which.type is None


def tallied(which: Filter, tallies: Mapping[str, Tally]) -> int:
    """How long a list is that the counters know of."""
    tally = tallies.get(which.project, Tally())
    return sum(tally.of(state) for state in which.states or STATES)

"""The SQL of a page of tasks: found in one index of one of a task's two rows, joined only for what is shown.

What a page skips is counted off in that index, so a page far down costs little more than the first.
"""

from treadle.adapters.store.lists import index_for, narrowed
from treadle.core.ports import Filter
from treadle.core.tasks import State

IN_PROGRESS = frozenset({"task_held", "task_listed"})
"""The indexes that lie on `progress`; the others lie on `tasks`."""

TABLE = {"worker": "progress", "state": "progress", "batch": "tasks", "type": "tasks"}

PAGE = """
SELECT {columns} FROM (SELECT {table}.seq {found} ORDER BY {table}.seq LIMIT {limit} OFFSET {offset}) AS page
JOIN tasks USING (seq) JOIN progress USING (seq) ORDER BY seq
"""


def found(which: Filter, state: State | None) -> tuple[str, list[str], str]:
    """FROM and WHERE of the tasks in question, the parameters, and the table to be gone through."""
    table = "progress" if index_for(which, state) in IN_PROGRESS else "tasks"
    other = "tasks" if table == "progress" else "progress"

    def equals(column: str, place: int) -> str:
        condition = f"{TABLE.get(column, table)}.{column} = ${place}"
        # IS TRUE: looked at in each row that the index gives, and not looked for in an index of its own.
        return condition if column != "type" and TABLE.get(column, table) == table else f"({condition}) IS TRUE"

    conditions, values = narrowed(which, state, equals)
    joined = f" JOIN {other} USING (seq)" if f"{other}." in conditions else ""
    return f"FROM {table}{joined} WHERE {conditions}", values, table


def page(which: Filter, state: State | None, columns: str) -> tuple[str, list[str]]:
    """The statement for a page in creation order, and its parameters but the last two: the limit and the offset."""
    source, values, table = found(which, state)
    parts = {"limit": f"${len(values) + 1}", "offset": f"${len(values) + 2}"}
    return PAGE.format(columns=columns, table=table, found=source, **parts), values


def count(which: Filter, state: State | None) -> tuple[str, list[str]]:
    """The statement that counts them, and its parameters."""
    source, values, _ = found(which, state)
    return f"SELECT count(*) {source}", values

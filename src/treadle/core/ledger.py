"""The ledger collects what one verb does to tasks, so that rows, counters and facts are written together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .access import Principal
from .events import Event, Kind
from .ports import Tx
from .tasks import State, Task


class Ledger:
    """Moves of one transaction at one instant; nothing is written before `write`, and everything is then."""

    def __init__(self, tx: Tx, now: int) -> None:
        self._tx, self._now = tx, now
        self._new: list[Task] = []
        self._moved: dict[str, Task] = {}
        self._gone: list[str] = []
        self._tallies: Counter[tuple[str, State]] = Counter()
        self._events: list[Event] = []

    def add(self, task: Task, by: Principal) -> None:
        """A task that did not exist before."""
        self._new.append(task)
        self._tallies[task.project, task.state] += 1
        self.note("task.submitted", task, {"by": by.name, "face": by.face})

    def move(self, before: Task, after: Task, kind: Kind, data: Mapping[str, Any] | None = None) -> Task:
        """A task that a rule has changed."""
        self._moved[after.id] = after
        if before.state != after.state:
            self._tallies[before.project, before.state] -= 1
            self._tallies[after.project, after.state] += 1
        self.note(kind, after, data)
        return after

    def drop(self, task: Task, data: Mapping[str, Any] | None = None) -> None:
        """A task that is deleted."""
        self._gone.append(task.id)
        self._tallies[task.project, task.state] -= 1
        self.note("task.deleted", task, data)

    def note(self, kind: Kind, task: Task, data: Mapping[str, Any] | None = None) -> None:
        """A fact about a task."""
        self._events.append(Event(kind, task.id, self._now, task.project, dict(data or {})))

    def write(self) -> Sequence[Task]:
        """Write all of it; the new tasks with their place in creation order."""
        added = self._tx.insert_tasks(self._new) if self._new else []
        if self._moved:
            self._tx.save_tasks(list(self._moved.values()))
        if self._gone:
            self._tx.delete_tasks(self._gone)
        tallies = {key: delta for key, delta in self._tallies.items() if delta}
        if tallies:
            self._tx.add_tallies(tallies)
        if self._events:
            self._tx.append_events(self._events)
        return added

"""What a writing lane remembers of projects and types, so that asking for them at every verb costs no round trip.

The catalogue has a number that every change raises. A transaction that relies on what is remembered says the number
along with its next question, under a lock that keeps the number as it is; where it is another one by now the server
refuses everything that follows, the commit too, and the verbs run again on what stands there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from treadle.core.projects import Project, TaskType

V = TypeVar("V")

AT_MOST = 10_000


class Known:
    """Projects by what they were called, and types by id or within their project."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.projects: dict[str, Project] = {}
        self.types: dict[str, TaskType] = {}
        self._types_of: dict[str, dict[str, TaskType]] = {}

    def forget(self) -> None:
        """The next to ask is told what stands there."""
        self.number = None
        self.projects.clear()
        self.types.clear()
        self._types_of.clear()

    def types_of(self, project: str) -> dict[str, TaskType]:
        """The types of a project by what they were called."""
        if len(self._types_of) > AT_MOST:
            self._types_of.clear()
        return self._types_of.setdefault(project, {})


def remembered(
    memory: dict[str, V], keys: Sequence[str], ask: Callable[[Sequence[str]], Mapping[str, V]]
) -> dict[str, V]:
    """The things that exist, asking only for those not remembered; what was found missing is asked for each time."""
    lacking = [key for key in keys if key not in memory]
    if lacking:
        if len(memory) > AT_MOST:
            memory.clear()
            lacking = list(keys)
        memory.update(ask(lacking))
    return {key: memory[key] for key in keys if key in memory}

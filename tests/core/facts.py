"""What the facts about tasks add up to: told one after another, they give the state that each task must be in."""

from __future__ import annotations

from collections.abc import Iterable

from treadle.core.events import Event

# Which states each fact follows from and the one it leads to; None is "there is no such task".
FOLDS: dict[str, tuple[set[str | None], str | None]] = {
    "task.submitted": ({None}, "queued"),
    "task.claimed": ({"queued"}, "running"),
    "task.resumed": ({"running"}, "running"),
    "task.extended": ({"running"}, "running"),
    "task.succeeded": ({"running"}, "succeeded"),
    "task.failed": ({"running"}, "failed"),
    "task.retried": ({"running"}, "queued"),
    "task.lost": ({"running"}, "as told"),
    "task.released": ({"running"}, "queued"),
    "task.cancelled": ({"queued", "running"}, "cancelled"),
    "task.requeued": ({"failed", "cancelled"}, "queued"),
    "task.changed": ({"queued"}, "queued"),
    "task.deleted": ({"queued", "succeeded", "failed", "cancelled"}, None),
}


class Told:
    """The tasks as their facts tell of them; a fact that cannot follow from those before fails the test."""

    def __init__(self) -> None:
        self.cursor = 0
        self.states: dict[str, str] = {}
        self._project: dict[str, str | None] = {}
        self._fences: dict[str, int] = {}

    def hear(self, events: Iterable[Event]) -> None:
        for event in events:
            assert event.seq > self.cursor, event
            self.cursor = event.seq
            if event.kind == "project.deleted":  # its tasks go with it, without a fact for each
                for id in [id for id in self.states if self._project[id] == event.subject]:
                    del self.states[id]
            elif event.kind.startswith("task."):
                self._one(event)

    def _one(self, event: Event) -> None:
        before, after = FOLDS[event.kind]
        assert self.states.get(event.subject) in before, event
        if event.kind in ("task.claimed", "task.resumed"):  # an assignment: a fence that nobody held before
            assert event.data["fence"] > self._fences.get(event.subject, 0), event
            self._fences[event.subject] = event.data["fence"]
        self._project[event.subject] = event.project
        if after is None:
            del self.states[event.subject]
        else:
            self.states[event.subject] = event.data["state"] if after == "as told" else after

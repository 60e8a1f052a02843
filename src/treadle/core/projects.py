"""A project is a named pool of work; a task type is a template with the policies of the tasks made from it.

Durations are microseconds. A task copies its type's retries when it is made; the lease length and the template are
read live, at claim and at rendering.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .clock import MINUTE
from .tasks import STATES, State

NAME = r"^[A-Za-z0-9_-]+$(?!\n)"
"""The pattern of every name a person gives: projects, types, workers, tasks. Python's `$` also matches before a last
line feed, JavaScript's does not; with what follows it they agree."""


def name_of(thing: str, longest: int = 100) -> Meta:
    """The rule for a name; `thing` begins the sentence that says which rule was broken."""
    rule = f"{thing} name can only contain letters, numbers, hyphens, and underscores"
    return Meta(min_length=1, max_length=longest, pattern=NAME, extra={"rule": rule})


ProjectName = Annotated[str, name_of("Project")]
TypeName = Annotated[str, name_of("Task type")]
WorkerName = Annotated[str, name_of("Agent", 50)]
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$(?!\n)", max_length=100)]
Retries = Annotated[int, Meta(ge=0, le=10)]

Duplicates = Literal["ignore", "fail", "allow"]
ProjectState = Literal["active", "closed"]


class Policy(Struct, frozen=True):
    """What tasks of a project get unless their type says otherwise, and how often lost leases are swept."""

    max_retries: int = 3
    lease: int = 10 * MINUTE
    sweep_every: int = 1 * MINUTE


class Project(Struct, frozen=True, kw_only=True):
    """A named pool of work. `seq` is its place in creation order."""

    id: str
    name: str
    created: int
    updated: int
    seq: int = 0
    description: str = ""
    instructions: str | None = None
    state: ProjectState = "active"
    policy: Policy = Policy()


class TaskType(Struct, frozen=True, kw_only=True):
    """A template and its policies, named inside one project."""

    id: str
    project: str
    name: str
    created: int
    updated: int
    seq: int = 0
    template: str | None = None
    variables: tuple[str, ...] = ()
    duplicates: Duplicates = "allow"
    max_retries: int = 3
    lease: int = 10 * MINUTE


class Tally(Struct, frozen=True):
    """How many tasks of a project are in each state; exact at every commit."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return sum(self.of(state) for state in STATES)

    def of(self, state: State) -> int:
        count: int = getattr(self, state)
        return count


class Activity(Struct, frozen=True):
    """What a project did since an instant: ends and mean seconds from claim to success; and who works now."""

    succeeded: int = 0
    failed: int = 0
    mean_seconds: float = 0.0
    workers: int = 0

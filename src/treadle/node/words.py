"""What a node and the desk say to each other, as they travel over the bus.

A node speaks on its own subject only (`topics.desk`), so the desk knows who asks from the subject.
"""

from typing import Any

from msgspec import Struct

from treadle.core import runs
from treadle.core.output import Part
from treadle.core.runs import Command, Ending

Lease = tuple[str, int]
"""A task and its fence."""

ASK_SECONDS = 20.0
"""How long the desk lets a node wait for work."""
ANSWER_SECONDS = 10.0
"""How long a node waits for any other answer."""
MOST_BYTES = 768 * 1024
"""Of runs in one answer; the bus carries 1 MiB."""
MOST_PARTS = 20_000
"""In one Write: a program that takes turns between its two streams makes many small ones."""


class Join(Struct, frozen=True, tag=True):
    """This machine is there; answered by its `Node`."""

    name: str
    slots: int
    version: str
    inventory: dict[str, Any]


class Beat(Struct, frozen=True, tag=True):
    """It is still there, running so much."""

    busy: int
    load: dict[str, Any]


class Leave(Struct, frozen=True, tag=True):
    """It stops in good order; what was given to it and is not among these has not reached it."""

    held: list[Lease]


class Ask(Struct, frozen=True, tag=True):
    """It can take so many runs beside those it holds; answered by Assignments, after a while by none.

    `name` is new each time; what was given to it and is not among `held` has not reached it, and is given again.
    """

    name: str
    count: int
    held: list[Lease]


class Keep(Struct, frozen=True, tag=True):
    """It goes on with these; answered by the list of those that are still its own."""

    held: list[Lease]


class Write(Struct, frozen=True, tag=True):
    """A run printed this, from its own offset on; answered by the offset expected next."""

    task: str
    fence: int
    at: int
    parts: list[Part]


class Expected(Struct, frozen=True, tag=True):
    """From which offset on the desk lacks what this assignment printed; refused where it is no longer the node's."""

    task: str
    fence: int


class Report(Struct, frozen=True, tag=True):
    """A run has ended, and all it printed was written. With `again` it may be tried once more."""

    task: str
    fence: int
    ending: Ending
    again: bool = False


Said = Join | Beat | Leave | Ask | Keep | Write | Expected | Report


class Assignment(Struct, frozen=True):
    """A run for this node: valid while the task has this fence."""

    task: str
    fence: int
    command: Command
    secrets: dict[str, str]


class Here(Struct, frozen=True, tag=True):
    """An order to a node: a desk has begun to answer, so say it again; who was to answer before may be gone."""


class Waits(Struct, frozen=True, tag=True):
    """An order to a node: say whether you still wait for the answer to the Ask of this name."""

    ask: str


Order = runs.Order | Here | Waits

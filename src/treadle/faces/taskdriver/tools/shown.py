"""What the tools answer besides the objects of the HTTP API (contract 12)."""
# ruff: noqa: N815  (the words are the document's)

from msgspec import Struct

from treadle.faces.taskdriver import wire
from treadle.faces.taskdriver.spelling import Status


class Pagination(Struct):
    """Which part of a list was shown; the range counts from 1, and is 0 to 0 when nothing was."""

    total: int
    offset: int
    limit: int
    rangeStart: int
    rangeEnd: int
    hasMore: bool


class OfProject(Struct):
    """A project's two names."""

    projectId: str
    projectName: str


class Stats(OfProject):
    """What goes on in a project."""

    stats: wire.ProjectReport


class LeaseCounts(Struct):
    """How many tasks are held, how many of these leases have run out, and how many tasks are in each state."""

    totalRunningTasks: int
    expiredTasks: int
    tasksByStatus: dict[Status, int]


class LeaseStats(OfProject):
    """How the leases of a project stand."""

    stats: LeaseCounts


class Cleanup(OfProject):
    """What a sweep put back, and how many distinct agents had held it."""

    reclaimedTasks: int
    cleanedAgents: int


class Peek(Struct):
    """How many tasks could be taken now."""

    projectId: str
    availableTasks: int


class Extended(Struct):
    """A lease with its new end."""

    taskId: str
    extensionMinutes: float
    newExpiresAt: wire.Instant


class Health(Struct):
    """The server's state; `uptime` in seconds."""

    status: str
    timestamp: wire.Instant
    uptime: int
    version: str
    storage: wire.Storage

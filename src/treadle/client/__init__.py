"""The Python SDK: a client for the native API, and workers. A whole agent:

    from treadle.client import Fail, Task, Worker

    worker = Worker("default", concurrency=8)


    @worker.handle
    async def greet(task: Task) -> str:
        name = task.variables.get("name")
        if not name:
            raise Fail("there is nobody to greet", retry=False)
        return f"Hello, {name}!"


    worker.start()

It finds the server that `treadle up` started on this machine; TREADLE_SERVER and TREADLE_KEY name another one.
"""

from treadle.client.client import Client
from treadle.client.errors import (
    ClientError,
    Conflict,
    Denied,
    Duplicate,
    Fault,
    Invalid,
    LeaseLost,
    NoServer,
    NotFound,
    ProjectClosed,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unreachable,
    Unreadable,
    WrongState,
)
from treadle.client.nouns import (
    ENDED,
    About,
    Attempt,
    Duplicates,
    Ended,
    Event,
    Events,
    Held,
    NewTask,
    Page,
    Policy,
    Project,
    Result,
    Standing,
    State,
    Stats,
    Swept,
    Tally,
    Task,
    TaskType,
)
from treadle.client.sync import SyncClient
from treadle.client.worker import Done, Fail, Worker

__all__ = [
    "ENDED",
    "About",
    "Attempt",
    "Client",
    "ClientError",
    "Conflict",
    "Denied",
    "Done",
    "Duplicate",
    "Duplicates",
    "Ended",
    "Event",
    "Events",
    "Fail",
    "Fault",
    "Held",
    "Invalid",
    "LeaseLost",
    "NewTask",
    "NoServer",
    "NotFound",
    "Page",
    "Policy",
    "Project",
    "ProjectClosed",
    "Refused",
    "Result",
    "Standing",
    "State",
    "Stats",
    "Swept",
    "SyncClient",
    "Tally",
    "Task",
    "TaskType",
    "TooLarge",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Unreadable",
    "Worker",
    "WrongState",
]

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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from treadle.client.runs import Chunk, Extent, Gap, Limits, NewRun, Node, Run, RunEnd, RunPage, Window
    from treadle.client.sync import SyncClient
    from treadle.client.worker import Done, Fail, Worker

__all__ = [
    "ENDED",
    "About",
    "Attempt",
    "Chunk",
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
    "Extent",
    "Fail",
    "Fault",
    "Gap",
    "Held",
    "Invalid",
    "LeaseLost",
    "Limits",
    "NewRun",
    "NewTask",
    "NoServer",
    "Node",
    "NotFound",
    "Page",
    "Policy",
    "Project",
    "ProjectClosed",
    "Refused",
    "Result",
    "Run",
    "RunEnd",
    "RunPage",
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
    "Window",
    "Worker",
    "WrongState",
]

_MODULES = ("errors", "nouns", "runs", "client", "sync", "worker")  # the dear ones last


def __getattr__(name: str) -> Any:
    """What is named above is imported when it is first used: a program that needs little starts at once."""
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"treadle.client.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

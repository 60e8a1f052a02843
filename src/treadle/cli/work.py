"""`treadle work`: a worker whose hand is a command."""

import asyncio
import logging
import shutil
from time import monotonic
from typing import Annotated

from typer import Argument, Option, Typer

from treadle import client as sdk

from . import Stop
from .endings import FAILED, USAGE, stop
from .printing import json_line, note
from .running import Runs
from .speaking import DEFAULT_PROJECT, Home, Json, Project, Server, speak

app = Typer(add_completion=False)


@app.command(context_settings={"allow_interspersed_args": False})  # what follows the program's name is the program's
def work(
    command: Annotated[list[str], Argument(metavar="-- COMMAND", help="The program and its arguments; no shell.")],
    project: Project = DEFAULT_PROJECT,
    queue: Annotated[str, Option(metavar="NAME", help="Take from this queue of the project.")] = "",
    jobs: Annotated[int, Option("--jobs", "-j", metavar="N", min=1, max=1000, help="Runs at a time.")] = 1,
    once: Annotated[bool, Option("--once", help="Work on one task, then end.")] = False,
    drain: Annotated[bool, Option("--drain", help="End when there is nothing to do.")] = False,
    lease: Annotated[
        float | None, Option(metavar="SECONDS", help="Hold tasks for so long without a word; it is extended.")
    ] = None,
    name: Annotated[str | None, Option(metavar="NAME", help="This worker's name; unique by default.")] = None,
    server: Server = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Work on tasks with a command.

    Each task is one run. It gets the task as JSON on stdin, its id as TREADLE_TASK_ID and its variables as
    TREADLE_VAR_NAME. Exit code 0 completes the task with what the run printed; any other fails it with what it wrote
    to stderr. Ctrl-C ends the runs and gives their tasks back.
    """
    if shutil.which(command[0]) is None:
        raise Stop(f"there is no program {command[0]}", USAGE)
    logging.basicConfig(format="treadle: %(message)s", level=logging.WARNING)
    speak(server, home, lambda client: client.project(project))  # who mistyped it learns so at once
    runs = Runs(command)

    async def run(task: sdk.Task) -> sdk.Done:
        began = monotonic()
        state = "gave back"
        try:
            done = await runs(task)
            state = "succeeded"
        except sdk.Fail:
            state = "failed"
            raise
        finally:
            tell(task, state, monotonic() - began, json)
        return done

    worker = sdk.Worker(
        project,
        run,
        concurrency=jobs,
        name=name,
        queue=queue,
        lease=lease,
        drain=drain,
        limit=1 if once else None,
        grace=0,
        server=server,
        home=home,
    )
    try:
        asyncio.run(worker.run())
    except sdk.ClientError as error:
        raise stop(error) from error
    if worker.failed and (once or drain):
        raise Stop(f"{worker.failed} of {worker.failed + worker.done} tasks failed", FAILED)


def tell(task: sdk.Task, state: str, seconds: float, json: bool) -> None:
    """One line for each run."""
    if json:
        json_line({"task": task.id, "state": state, "seconds": round(seconds, 3)})
    else:
        note(f"{state}  {task.id}  {seconds:.1f} s")

"""Workers against a real server: every task once, leases kept, results home, and a clean end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import treadle.client
from tests.faces.fabric.serving import KEY, Served, served
from treadle.client import Client, Done, Fail, NewTask, NotFound, Task, Worker
from treadle.client.worker import worker_name


def worker(server: Served, project: str, handler: Callable[[Task], Any], **more: Any) -> Worker:
    return Worker(project, handler, server=server.url, key=KEY, **more)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Asks until it is so; pytest's timeout bounds it."""
    while not await is_so():
        pass


async def counts(client: Client, project: str) -> dict[str, int]:
    tally = (await client.project(project)).tally
    return {state: n for state in tally.__struct_fields__ if state != "total" and (n := getattr(tally, state))}


async def test_every_task_is_worked_on_once(server: Served, client: Client, project: str) -> None:
    made = await client.submit(project, *(NewTask(variables={"n": n}) for n in range(700)))
    seen: Counter[int] = Counter()

    async def count(task: Task) -> int:
        seen[task.variables["n"]] += 1
        return int(task.variables["n"]) * 2

    drainer = worker(server, project, count, concurrency=4, drain=True)
    await drainer.run()
    assert (drainer.done, drainer.failed, drainer.lost) == (700, 0, 0)
    assert seen == Counter(range(700))
    assert await counts(client, project) == {"succeeded": 700}
    result = (await client.task(made[7].id)).result
    assert result is not None
    assert result.output == 14


async def test_two_workers_share_without_doing_anything_twice(server: Served, client: Client, project: str) -> None:
    await client.submit(project, *(NewTask(variables={"n": n}) for n in range(300)))
    seen: Counter[int] = Counter()

    async def count(task: Task) -> None:
        seen[task.variables["n"]] += 1
        await asyncio.sleep(0.001)

    both = [worker(server, project, count, concurrency=4, drain=True) for _ in range(2)]
    await asyncio.gather(*(each.run() for each in both))
    assert seen == Counter(range(300))
    assert all(each.done for each in both)


async def test_an_ordinary_function_works_in_threads(server: Served, client: Client, project: str) -> None:
    await client.submit(project, NewTask(), NewTask())
    together = threading.Barrier(2, timeout=20)

    def meet(_: Task) -> str:
        together.wait()
        return threading.current_thread().name

    await worker(server, project, meet, concurrency=2, drain=True).run()
    page = await client.tasks(project)
    assert {task.result.output.partition("_")[0] for task in page.tasks if task.result} == {"treadle-work"}


async def test_how_a_task_may_end(server: Served, client: Client, project: str) -> None:
    await client.submit(project, *(NewTask(name=name, max_retries=1) for name in ENDINGS))

    async def end(task: Task) -> Any:
        return ENDINGS[str(task.name)]()

    drainer = worker(server, project, end, concurrency=4, drain=True)
    await drainer.run()
    page = await client.tasks(project)
    ended = {str(task.name): task for task in page.tasks}
    results = {name: task.result for name, task in ended.items()}
    assert all(results.values())
    told = {
        name: (result.ok, result.output, result.outputs, result.error) for name, result in results.items() if result
    }
    assert told["plain"] == (True, {"a": [1]}, None, None)
    assert told["with-outputs"] == (True, "x", {"code": 0}, None)
    assert told["for-good"] == (False, None, {"code": 3}, "hopeless")
    assert told["by-exception"] == (False, None, None, "ValueError: odd")
    assert told["no-json"][3] == "The result is no JSON: Encoding objects of type object is unsupported"
    assert str(told["too-large"][3]).startswith("The result is 9,000,")
    assert str(told["with-a-nul"][3]).startswith("The result was refused: ")
    assert str(told["cancelled-inside"][3]) == "The handler was cancelled"
    retries = {name: task.retries for name, task in ended.items()}
    assert retries["for-good"] == retries["no-json"] == retries["with-a-nul"] == retries["too-large"] == 1
    assert retries["by-exception"] == retries["cancelled-inside"] == 2  # the try and one more
    assert (drainer.done, drainer.failed, drainer.lost) == (2, 8, 0)


def _raise(error: BaseException) -> Any:
    raise error


ENDINGS: dict[str, Callable[[], Any]] = {
    "plain": lambda: {"a": [1]},
    "with-outputs": lambda: Done("x", {"code": 0}),
    "for-good": lambda: _raise(Fail("hopeless", retry=False, outputs={"code": 3})),
    "by-exception": lambda: _raise(ValueError("odd")),
    "no-json": object,
    "too-large": lambda: "x" * 9_000_000,
    "with-a-nul": lambda: "a\0b",
    "cancelled-inside": lambda: _raise(asyncio.CancelledError()),
}


async def test_a_lease_is_kept_while_the_handler_works(server: Served, client: Client, project: str) -> None:
    [task] = await client.submit(project, NewTask(max_retries=0))
    start = (await client.events()).cursor

    async def long(task: Task) -> int:
        extended = 0
        async for event in client.follow(start, project=project):
            await client.sweep(project)  # whoever let its lease run out would lose it here
            extended += event.kind == "task.extended" and event.subject == task.id
            if extended == 3:
                break
        return extended

    keeper = worker(server, project, long, lease=0.5, drain=True)
    await keeper.run()
    assert (keeper.done, keeper.lost) == (1, 0)
    assert (await client.task(task.id)).retries == 0


async def test_a_handler_is_cancelled_when_its_task_is_called_off(server: Served, client: Client, project: str) -> None:
    first, second = await client.submit(project, NewTask(name="first"), NewTask(name="second"))
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work(task: Task) -> str:
        if task.name == "second":
            return "worked on"
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    drainer = worker(server, project, work, drain=True)
    running = asyncio.create_task(drainer.run())
    await began.wait()
    await client.cancel(first.id)
    await cancelled.wait()
    await running
    assert (drainer.done, drainer.lost) == (1, 1)
    assert await counts(client, project) == {"cancelled": 1, "succeeded": 1}
    assert second.id


async def test_a_stop_gives_back_what_was_not_begun(server: Served, client: Client, project: str) -> None:
    await client.submit(project, *(NewTask(variables={"n": n}) for n in range(60)))
    blocked, go_on = asyncio.Event(), asyncio.Event()

    async def block_at_ten(task: Task) -> None:
        if task.variables["n"] == 10:
            blocked.set()
            await go_on.wait()

    stopped = worker(server, project, block_at_ten)
    running = asyncio.create_task(stopped.run())
    await blocked.wait()
    await until(lambda: ready(client, project, 50))
    stopped.stop()
    await until(lambda: ready(client, project, 1))
    go_on.set()
    await running
    assert stopped.done == 11
    assert await counts(client, project) == {"succeeded": 11, "queued": 49}
    assert {task.retries for task in (await client.tasks(project)).tasks} == {0}


async def ready(client: Client, project: str, running: int) -> bool:
    return (await client.project(project)).tally.running == running


async def test_what_still_runs_when_the_grace_is_over_goes_back(server: Served, client: Client, project: str) -> None:
    await client.submit(project, NewTask())
    began, tidied = asyncio.Event(), asyncio.Event()

    async def forever(_: Task) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert await counts(client, project) == {"running": 1}  # nobody else may begin before it has tidied up
            tidied.set()

    stopped = worker(server, project, forever, grace=0)
    running = asyncio.create_task(stopped.run())
    await began.wait()
    stopped.stop()
    await running
    assert tidied.is_set()
    assert await counts(client, project) == {"queued": 1}


async def test_a_second_stop_waits_for_no_handler(server: Served, client: Client, project: str) -> None:
    await client.submit(project, NewTask())
    began = asyncio.Event()

    async def forever(_: Task) -> None:
        began.set()
        await asyncio.Event().wait()

    stopped = worker(server, project, forever, grace=3600)
    running = asyncio.create_task(stopped.run())
    await began.wait()
    stopped.stop()
    stopped.stop()
    await running
    assert await counts(client, project) == {"queued": 1}


async def test_a_limit_is_kept(server: Served, client: Client, project: str) -> None:
    await client.submit(project, *(NewTask() for _ in range(9)))

    async def nothing(_: Task) -> None: ...

    limited = worker(server, project, nothing, concurrency=4, limit=5)
    await limited.run()
    assert limited.done == 5
    assert await counts(client, project) == {"succeeded": 5, "queued": 4}


async def test_it_waits_for_a_server_that_is_away_and_brings_results_home(tmp_path: Path) -> None:
    done_without_server, server_is_away = asyncio.Event(), asyncio.Event()

    async def work(task: Task) -> str:
        if task.name == "first":
            began.set()
            await server_is_away.wait()
            done_without_server.set()
        return str(task.name)

    began = asyncio.Event()
    with served(tmp_path) as first:
        port = first.port
        async with Client(first.url, KEY) as client:
            await client.create_project("p")
            await client.submit("p", NewTask(name="first"))
            survivor = worker(first, "p", work)
            running = asyncio.create_task(survivor.run())
            await began.wait()
    server_is_away.set()
    await done_without_server.wait()
    with served(tmp_path, port) as second:
        async with Client(second.url, KEY) as client:
            page = await client.tasks("p")
            first_done = await client.ended(page.tasks[0].id)
            assert first_done.result is not None
            assert (first_done.result.output, first_done.retries) == ("first", 0)
            [late] = await client.submit("p", NewTask(name="second"))
            assert (await client.ended(late.id)).state == "succeeded"
        survivor.stop()
        await running
    assert (survivor.done, survivor.lost) == (2, 0)


async def test_what_is_refused_for_good_is_raised(server: Served) -> None:
    async def nothing(_: Task) -> None: ...

    with pytest.raises(NotFound, match="Project nope not found"):
        await worker(server, "nope", nothing).run()
    with pytest.raises(TypeError):
        await Worker("default").run()


def test_the_agent_in_the_documentation(server: Served, tmp_path: Path) -> None:
    """The example runs as it is printed, finds the server by itself, and ends on SIGTERM with its work handed in."""
    server.announce()
    example = re.findall(r"\n    (from treadle.*?\n    worker\.start\(\)\n)", str(treadle.client.__doc__), re.DOTALL)[0]
    program = tmp_path / "agent.py"
    program.write_text("\n".join(line.removeprefix("    ") for line in example.splitlines()) + "\n")
    assert len(example.splitlines()) <= 20
    environment = {**os.environ, "TREADLE_HOME": str(server.home)}
    with treadle.client.SyncClient(server.url, KEY) as client:
        client.create_project("default")
        with subprocess.Popen([sys.executable, program], env=environment, stderr=subprocess.PIPE) as agent:
            known, unknown = client.submit("default", NewTask(variables={"name": "Ann"}), NewTask())
            greeted, failed = client.ended(known.id, within=30), client.ended(unknown.id, within=30)
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == 0, agent.stderr.read() if agent.stderr else ""
    assert greeted.result is not None
    assert greeted.result.output == "Hello, Ann!"
    assert failed.result is not None
    assert failed.result.error == "there is nobody to greet"


def test_a_name_is_fit_and_unlike_any_other() -> None:
    names = {worker_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name) for name in names)

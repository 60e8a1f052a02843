"""Tasks between the queue and the devices: claimed when there is somebody to do them, held while they run, and always
ended, whatever breaks.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.faces.ufo.aip_stage import CALLER, Mute, Stage, client_on, echo, fabric_in, one_command, soon, staged
from treadle.core.clock import SECOND
from treadle.core.errors import NotFound, StoreFull, StoreReadOnly, WrongState
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Task
from treadle.faces.ufo import workers_output
from treadle.faces.ufo.connection import TaskAsked
from treadle.faces.ufo.dispatching import PROJECT, queue_of
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.registry import Connection
from treadle.faces.ufo.running import DeviceIO, Outcome, SessionRunner, TaskSpec
from treadle.web.log import Log


def stage_of(fabric: Fabric, play: Any = echo, lines: list[bytes] | None = None, **limits: Any) -> Stage:
    said: list[bytes] = [] if lines is None else lines
    return Stage(fabric, Limits(**limits), play, Log(said.append))


def joined(stage: Stage, wire: Mute, id: str = "d1", **more: Any) -> Connection:
    client = client_on(wire, id, **more)
    stage.registry.take(client)
    stage.registry.show(client)
    stage.workers.joined(client)
    return client


def asked(wire: Mute, kind: str) -> list[dict[str, Any]]:
    return [frame for frame in wire.sent if frame["type"] == kind]


async def echoing(stage: Stage, client: Connection, wire: Mute, name: str = "t") -> None:
    """The device takes the next assignment."""
    await soon(lambda: any(frame["task_name"] == name for frame in asked(wire, "task")))
    await stage.workers.asked(client, TaskAsked(target=client.client_id, request="do", task_name=name))


async def test_what_waits_is_taken_when_its_device_comes(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        nobody = joined(stage, Mute(), "d0")  # before there is a project at all
        await soon(lambda: nobody.working is None)
        task = await stage.dispatch("d1", "early")
        assert (await fabric.tasks.get(task.id)).state == "queued"
        await echoing(stage, joined(stage, wire), wire)
        assert await stage.output(task) == "early"
        stored = await fabric.tasks.get(task.id)
        assert stored.attempts[0].worker == "device/d1"
        assert stored.result is not None
        assert stored.result.output == {
            "output": "early", "rounds": [{"request": "early", "result": "early"}], "usage": {},
        }  # fmt: skip


async def test_a_lost_hint_is_made_up_for_by_the_slow_look(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        client = joined(stage, wire)
        stage.dispatching.poke = lambda _: None
        task = await stage.dispatch("d1")
        await stage.workers.look()
        await echoing(stage, client, wire)
        await stage.ended(task)
        await stage.workers.look()


async def test_an_idle_look_writes_nothing(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage = stage_of(fabric)
        for n in range(10):
            joined(stage, Mute(), f"d{n}")
        await soon(lambda: not any(client.working for client in stage.registry.connections()))
        before = await fabric.events.last()
        claims: list[Claim] = []
        stage.fabric.tasks.claim = claims.append  # type: ignore[method-assign,assignment]
        await stage.workers.look()
        await stage.workers.extend()
        assert (claims, await fabric.events.last()) == ([], before)


async def test_leases_are_kept_while_a_session_runs(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric, one_command), Mute()
        client = joined(stage, wire)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        await soon(lambda: asked(wire, "command"))
        before = (await fabric.tasks.get(task.id)).lease
        await stage.workers.extend()
        after = (await fabric.tasks.get(task.id)).lease
        assert before is not None
        assert after is not None
        assert after.until > before.until
        assert after.until <= fabric.clock() + 60 * SECOND
        stage.workers.left(client)
        await stage.ended(task)


async def test_a_session_whose_lease_is_gone_ends_without_overwriting_anything(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric, one_command), Mute()
        client = joined(stage, wire)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        await soon(lambda: asked(wire, "command"))
        await fabric.tasks.cancel(task.id, CALLER, "not wanted")
        await stage.workers.extend()
        await soon(lambda: asked(wire, "task_end"))
        assert asked(wire, "task_end")[0]["error"] == "The task was called off"
        assert await stage.failure(task) == "not wanted"


async def test_what_clients_asked_for_before_a_restart_is_not_run_for_nobody(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        before = stage_of(fabric)
        task = await before.dispatch("d1", session_id="night@t1", requester="k")
        after, wire = stage_of(fabric), Mute()
        joined(after, wire)
        assert await after.failure(task) == "The client that asked for this is gone"
        assert asked(wire, "command") == asked(wire, "task") == []


async def test_a_server_that_was_killed_leaves_a_failure_that_says_so(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage = stage_of(fabric)
        task = await stage.dispatch("d1")
        claim = Claim(project=PROJECT, worker="device/d1", queue=queue_of("d1"), lease=1)
        [taken] = await fabric.tasks.claim(claim)
        assert taken.id == task.id
        await fabric.tasks.sweep(taken.project)
        assert "ran out before the task was finished" in await stage.failure(task)


async def test_a_task_that_somebody_else_put_into_the_queue_is_ended(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        joined(stage, wire)
        await stage.dispatch("d0")  # so that there is a project
        new = NewTask(kind="device", queue=queue_of("d1"), instructions="do", variables={"a": 1}, max_retries=0)
        [made] = await fabric.tasks.submit(Submit(project=PROJECT, tasks=[new], by=CALLER))
        assert isinstance(made, Task)
        stage.workers.poke("d1")
        assert "This is no task for a device" in await stage.failure(made)
        assert wire.sent == []


async def test_a_runner_that_breaks_fails_its_session_and_the_log_says_why(tmp_path: Path) -> None:
    async def broken(_: TaskSpec, __: DeviceIO) -> Outcome:
        raise ZeroDivisionError("a secret")

    async with fabric_in(tmp_path) as fabric:
        lines: list[bytes] = []
        stage, wire = stage_of(fabric, broken, lines), Mute()
        client = joined(stage, wire)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        assert await stage.failure(task) == "The session broke (ZeroDivisionError); the server's log says how"
        stage.log.flush()
        assert "a secret" in b"".join(lines).decode()
        stage.play = echo
        again = await stage.dispatch("d1", task_name="u")
        await echoing(stage, client, wire, "u")
        assert await stage.output(again) == "do"


async def test_a_choice_that_breaks_fails_the_session(tmp_path: Path) -> None:
    def choose(_: TaskSpec) -> SessionRunner:
        raise LookupError

    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        stage.workers._choose = choose
        joined(stage, wire)
        assert "LookupError" in await stage.failure(await stage.dispatch("d1"))


async def test_an_outcome_that_nothing_can_hold_is_a_failure(tmp_path: Path) -> None:
    async def wrong(_: TaskSpec, __: DeviceIO) -> Outcome:
        return Outcome(True, object())

    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric, wrong), Mute()
        client = joined(stage, wire)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        assert "could not be stored" in await stage.failure(task)
        await soon(lambda: asked(wire, "task_end"))
        assert asked(wire, "task_end")[0]["status"] == "failed"


async def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.faces.ufo.workers.STORE_PAUSES", (0.01, 0.01, 0.01))
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        client = joined(stage, wire)
        finish, failures = fabric.tasks.finish, [StoreFull(), StoreReadOnly()]

        def failing(call: Any) -> Any:
            if failures:
                raise failures.pop()
            return finish(call)

        monkeypatch.setattr(fabric.tasks, "finish", failing)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        assert await stage.output(task) == "do"
        assert failures == []


async def test_a_store_that_stays_away_is_said_to_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.faces.ufo.workers.STORE_PAUSES", (0.01,))
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        client = joined(stage, wire)

        def full(_: Any) -> Any:
            raise StoreFull

        monkeypatch.setattr(fabric.tasks, "finish", full)
        await stage.dispatch("d1")
        await echoing(stage, client, wire)
        await soon(lambda: asked(wire, "task_end"))
        assert "could not be stored" in asked(wire, "task_end")[0]["error"]


async def test_what_a_device_has_not_heard_of_waits_for_its_return(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        client = joined(stage, wire)
        await soon(lambda: client.working is None)
        task = await stage.dispatch("d1")  # it is about to be claimed for the device …
        stage.registry.leave(client)  # … which leaves just then
        await soon(lambda: client.working is None)
        assert (await fabric.tasks.get(task.id)).state == "queued"
        assert wire.sent == []
        again = Mute()
        await echoing(stage, joined(stage, again), again)
        assert await stage.output(task) == "do"


async def test_the_runner_is_told_what_the_device_is_and_what_was_asked(tmp_path: Path) -> None:
    seen: list[TaskSpec] = []

    async def looking(task: TaskSpec, _: DeviceIO) -> Outcome:
        seen.append(task)
        return Outcome(True)

    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric, looking), Mute()
        client = joined(stage, wire, platform="mobile", system_info={"cpu_count": 8}, metadata={"tags": ["a"]})
        task = await stage.dispatch("d1", metadata={"depth": 2})
        await echoing(stage, client, wire)
        await stage.ended(task)
        assert seen == [
            TaskSpec(
                session_id=task.variables["session_id"], task_name="t", request="do", client_id="d1",
                platform="mobile", system_info={"cpu_count": 8}, metadata={"tags": ["a"]}, options={"depth": 2},
            )
        ]  # fmt: skip


async def test_calling_off_what_is_not_there(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage, wire = stage_of(fabric), Mute()
        with pytest.raises(NotFound):
            await stage.workers.cancel("nothing")
        client = joined(stage, wire)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        await stage.ended(task)
        with pytest.raises(WrongState):
            await stage.workers.cancel(task.variables["session_id"])


async def test_progress_that_cannot_be_written_is_a_gap_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def telling(_: TaskSpec, io: DeviceIO) -> Outcome:
        for n in range(4):
            await io.progress({"n": n})
            await tried.acquire()  # each alone, without company
        return Outcome(True)

    tried = asyncio.Semaphore(0)
    monkeypatch.setattr(workers_output, "GATHER_SECONDS", 0)

    async with fabric_in(tmp_path) as fabric:
        lines: list[bytes] = []
        stage, wire = stage_of(fabric, telling, lines), Mute()
        client = joined(stage, wire)
        write, failures = fabric.output.write, [StoreFull(), StoreFull()]

        async def failing(*given: Any) -> int:
            try:
                if failures:
                    raise failures.pop()
                return await write(*given)
            finally:
                tried.release()

        monkeypatch.setattr(fabric.output, "write", failing)
        task = await stage.dispatch("d1")
        await echoing(stage, client, wire)
        await stage.ended(task)
        chunks = await fabric.output.read(task.id, 0)
        text = b"".join(chunk.data for chunk in chunks)
        assert [json.loads(line)["n"] for line in text.splitlines()] == [2, 3]
        assert chunks[-1].end > len(text)
        assert sum(b"progress was lost" in line for line in lines) == 1


async def test_a_hundred_dispatches_at_once_to_one_device_keep_their_order(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        tasks = [await stage.dispatch("d1", f"r{n}", f"t{n}") for n in range(100)]
        order = []
        for _ in tasks:
            order.append((await device.take())["task_name"])
            await device.hear("task_end")
        assert order == [f"t{n}" for n in range(100)]


async def test_stopping_with_nothing_to_stop(tmp_path: Path) -> None:
    async with fabric_in(tmp_path) as fabric:
        stage = stage_of(fabric)
        running = asyncio.ensure_future(stage.workers.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await stage.workers.stop()

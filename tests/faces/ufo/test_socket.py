"""Devices and constellations on a real socket, scripted line by line as the stock clients speak (spec 3, 5, 6, 10)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.faces.ufo.aip_stage import SECONDS, Stage, one_command, soon, staged
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec, ToolCall

REGISTER = {"type": "register", "status": "ok", "client_type": "device", "client_id": "d1"}


async def heard(socket: Any) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


async def closed(socket: Any) -> tuple[int, str]:
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    return socket.close_code, socket.close_reason


# registration


async def test_the_first_frame_is_the_verdict(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        waiting = await stage.dispatch("d1", "early")
        async with stage.dialled() as socket:
            await socket.send(json.dumps(REGISTER))
            verdict = await heard(socket)
            assert verdict["type"] == "heartbeat"
            assert verdict["status"] == "ok"
            assert verdict["response_id"]
            assert verdict["timestamp"].endswith("+00:00")
            task = await heard(socket)  # only now what waited for it
            assert (task["type"], task["user_request"], task["session_id"]) == ("task", "early", waiting.id)


@pytest.mark.parametrize(
    ("messages", "code", "answers"),
    [
        ([{"type": "heartbeat", "status": "ok"}], 1008, 1),
        ([{"type": "register", "status": "ok"}], 1008, 1),
        (["no json", {"type": "register", "status": "ok", "client_id": ""}], 1008, 2),
        (
            [{**REGISTER, "client_type": "constellation", "target_id": "nobody"}],
            1000,
            1,
        ),
        ([{**REGISTER, "metadata": {"x": "y" * 1_100_000}}, {"type": "task", "status": "ok"}], 1008, 2),
    ],
)
async def test_a_refused_registration(tmp_path: Path, messages: list[Any], code: int, answers: int) -> None:
    async with staged(tmp_path) as stage, stage.dialled() as socket:
        for message in messages:
            await socket.send(message if isinstance(message, str) else json.dumps(message))
        for _ in range(answers):
            frame = await heard(socket)
            assert (frame["type"], frame["status"]) == ("error", "error")
            assert frame["error"]
        assert (await closed(socket))[0] == code
        assert stage.registry.online() == []


async def test_who_does_not_register_in_time_is_told_and_closed(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=Limits(registration=0.1)) as stage, stage.dialled() as socket:
        assert (await heard(socket))["type"] == "error"
        assert await closed(socket) == (1008, "registration did not come in time")


async def test_a_registered_client_is_not_bound_by_the_deadline(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, limits=Limits(registration=0.1)) as stage,
        stage.client("d1") as device,
    ):
        await asyncio.sleep(0.2)  # the deadline itself is what is waited for
        await device.say("heartbeat")
        await device.hear("heartbeat")


async def test_bytes_are_read_like_text_also_at_registration(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.dialled() as socket:
        await socket.send(json.dumps(REGISTER).encode())
        assert (await heard(socket))["status"] == "ok"
        await socket.send(json.dumps({"type": "heartbeat", "status": "ok"}).encode())
        assert await heard(socket) == {"type": "heartbeat", "status": "ok"}


@pytest.mark.parametrize(
    "message",
    [
        "{",
        b"\x00\xff",
        "[]",
        '{"type":"binary_data","status":"ok","size":3}',
        '{"type":"file_transfer_start","filename":"a"}',
        '{"type":"heartbeat"}',
        '{"type":"register","status":"ok","client_id":"d2"}',
        '{"type":"task_end","status":"completed","session_id":"s"}',
        '{"type":"heartbeat","status":"ok","client_id":"d2"}',
    ],
)
async def test_what_cannot_be_done_is_told_and_the_socket_lives(tmp_path: Path, message: str | bytes) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        await device.socket.send(message)
        frame = await device.hear("error")
        assert frame["status"] == "error"
        assert frame["error"]
        await device.say("heartbeat")
        await device.hear("heartbeat")


# identity and duplicates


async def test_a_living_holder_keeps_its_id(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        async with stage.dialled() as socket:
            await socket.send(json.dumps(REGISTER))
            assert "connected already" in (await heard(socket))["error"]
            assert (await closed(socket))[0] == 1000
        await device.say("heartbeat")
        await device.hear("heartbeat")
        assert stage.registry.online() == ["d1"]


async def test_a_dead_holder_is_evicted_and_what_ran_on_it_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treadle.faces.ufo.registry.ALIVE_SECONDS", 0.2)
    async with staged(tmp_path) as stage, stage.dialled(ping_interval=None) as socket:
        await socket.send(json.dumps(REGISTER))
        await heard(socket)
        task = await stage.dispatch("d1")
        assert (await heard(socket))["type"] == "task"
        socket.transport.pause_reading()  # its link is dead: it answers nothing, and nobody tells us
        async with stage.client("d1") as device:
            assert "disconnected" in await stage.failure(task)
            assert stage.registry.online() == ["d1"]
            again = await stage.dispatch("d1", "again")
            await device.take()
            assert await stage.output(again) == "again"
        socket.transport.abort()


async def test_of_many_who_come_at_once_one_gets_the_id(tmp_path: Path) -> None:
    async def come(stage: Stage, over: asyncio.Event) -> str:
        async with stage.dialled() as socket:
            await socket.send(json.dumps(REGISTER))
            verdict = await heard(socket)
            if verdict["type"] == "heartbeat":
                await over.wait()
            return str(verdict["status"])

    async with staged(tmp_path) as stage:
        over = asyncio.Event()
        coming = [asyncio.ensure_future(come(stage, over)) for _ in range(10)]
        await soon(lambda: sum(task.done() for task in coming) == 9)
        over.set()
        assert sorted(await asyncio.gather(*coming)) == ["error"] * 9 + ["ok"]


# dispatches


async def test_a_dispatch_runs_from_its_assignment_to_its_end(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1", "uname -s", "inventory-7")
        assigned = await device.take()
        assert (assigned["user_request"], assigned["task_name"]) == ("uname -s", "inventory-7")
        assert assigned["session_id"] == task.variables["session_id"]
        command = await device.answer({"success": True, "stdout": "Linux\n"})
        assert command["session_id"] == assigned["session_id"]
        assert command["agent_name"] == "LinuxAgent"
        assert command["actions"][0]["call_id"]
        end = await device.hear("task_end")
        assert (end["status"], end["session_id"]) == ("completed", assigned["session_id"])
        output = await stage.output(task)
        assert output == {"success": True, "stdout": "Linux\n"}
        assert end["result"] == [{"request": "uname -s", "result": output}]


async def test_what_a_session_did_is_its_task_s_output(tmp_path: Path) -> None:
    async def tells(task: TaskSpec, io: DeviceIO) -> Outcome:
        await io.progress({"event": "round", "n": 1})
        return await one_command(task, io)

    async with staged(tmp_path, tells) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1", "secret command")
        await device.take()
        await device.answer("done")
        await stage.ended(task)
        chunks = await stage.fabric.output.read(task.id, 0)
        facts = [json.loads(line) for line in b"".join(chunk.data for chunk in chunks).splitlines()]
        assert [fact["event"] for fact in facts] == ["round", "command", "results"]
        assert all(fact["at"].endswith("+00:00") for fact in facts)
        assert facts[1]["calls"][0]["tool"] == "execute_command"
        assert "secret" not in json.dumps(facts)  # arguments may hold keys


async def test_a_device_that_never_echoes_fails_the_dispatch_and_its_late_echo_starts_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=Limits(accept=0.1)) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1", task_name="slow")
        assigned = await device.hear("task")
        assert "did not take the task" in await stage.failure(task)
        end = await device.hear("task_end")
        assert (end["status"], end["session_id"]) == ("failed", assigned["session_id"])
        await device.say("task", task_name="slow", request="do")
        assert "given up" in (await device.hear("error"))["error"]
        await device.say("task", task_name="slow", request="do")  # now it means it
        assert (await device.hear("heartbeat"))["session_id"]
        await device.hear("task_end")


async def test_the_echo_of_what_was_called_off_meanwhile_starts_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1", task_name="off")
        assigned = await device.hear("task")
        await stage.workers.cancel(assigned["session_id"], "not wanted")
        assert await stage.failure(task) == "not wanted"
        assert (await device.hear("task_end"))["error"] == "not wanted"
        await device.say("task", task_name="off", request="do")
        assert "given up" in (await device.hear("error"))["error"]


async def test_a_constellation_as_target_ends_by_the_accept_timeout(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=Limits(accept=0.1)) as stage, stage.client("k", "constellation") as k:
        task = await stage.dispatch("k")
        assert (await k.hear("task"))["user_request"] == "do"
        assert "did not take the task" in await stage.failure(task)


async def test_one_session_at_a_time_on_a_device_in_the_order_of_asking(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage, stage.client("d1") as device:
        tasks = [await stage.dispatch("d1", f"r{n}", f"t{n}") for n in range(5)]
        for n, task in enumerate(tasks):
            assigned = await device.take()
            assert assigned["task_name"] == f"t{n}"
            assert (await stage.fabric.tasks.get(task.id)).state == "running"
            assert {(await stage.fabric.tasks.get(later.id)).state for later in tasks[n + 1 :]} <= {"queued"}
            await device.answer(n)
            await device.hear("task_end")
            assert await stage.output(task) == n


async def test_devices_work_side_by_side(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as first,
        stage.client("d2") as second,
    ):
        one, two = await stage.dispatch("d1", "a"), await stage.dispatch("d2", "b")
        await first.take()
        await second.take()
        await second.answer("second")
        assert await stage.output(two) == "second"
        await first.answer("first")
        assert await stage.output(one) == "first"


async def test_results_of_others_and_of_other_sessions_count_for_nothing(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("d2") as thief,
        stage.client("k", "constellation") as k,
    ):
        task = await stage.dispatch("d1")
        await device.take()
        command = await device.hear("command")
        forged = {
            "session_id": command["session_id"],
            "prev_response_id": command["response_id"],
            "action_results": [{"status": "success", "result": "forged"}],
        }
        for other in (thief, k):
            await other.say("command_results", **forged)
            await other.say("heartbeat")
            await other.hear("heartbeat")  # dropped without a word
        await device.say("command_results", **{**forged, "session_id": "other"})
        await device.say("command_results", **{**forged, "prev_response_id": "late"})
        right = [{"status": "success", "result": "right"}]
        await device.say("command_results", **{**forged, "action_results": right})
        assert await stage.output(task) == "right"


async def test_a_device_killed_in_the_middle_of_a_command(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage:
        async with stage.client("d1") as device:
            task = await stage.dispatch("d1")
            waits = await stage.dispatch("d1", "later", "later")
            await device.take()
            await device.hear("command")
            device.kill()
            assert await stage.failure(task) == "Target device d1 disconnected"
            await soon(lambda: stage.registry.online() == [])
        assert (await stage.fabric.tasks.get(waits.id)).state == "queued"
        async with stage.client("d1") as device:  # what it had not heard of waits for it
            assert (await device.take())["task_name"] == "later"
            await device.answer("back")
            assert await stage.output(waits) == "back"


async def test_a_device_killed_while_it_holds_an_assignment(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1")
        await device.hear("task")
        device.kill()
        assert await stage.failure(task) == "Target device d1 disconnected"


async def test_a_command_that_is_not_answered_fails_the_session_and_the_next_one_runs(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command, limits=Limits(command=0.1)) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1", "unknown tool")
        await device.take()
        await device.hear("command")
        assert "did not answer a command" in await stage.failure(task)
        assert (await device.hear("task_end"))["status"] == "failed"
        after = await stage.dispatch("d1", "known", "t2")
        await device.take()
        await device.answer("fine")
        assert await stage.output(after) == "fine"


async def test_a_device_that_says_it_cannot(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1")
        await device.take()
        command = await device.hear("command")
        await device.say("error", error="no such agent", prev_response_id=command["response_id"])
        assert await stage.failure(task) == "The device answered with an error: no such agent"


async def test_a_spontaneous_task_of_a_device(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        await device.say("task", task_name="own", request="do it", target_id="d1")
        accepted = await device.hear("heartbeat")
        end = await device.hear("task_end")
        assert end["session_id"] == accepted["session_id"]
        assert end["result"] == [{"request": "do it", "result": "do it"}]
        found = await stage.dispatching.find("own")
        assert found is not None
        assert await stage.output(found) == "do it"
        await device.say("task", task_name="empty", session_id="mine")
        assert (await device.hear("error"))["error"] == "Empty task content"
        assert (await device.hear("task_end"))["session_id"] == "mine"


async def test_a_request_handed_over_whole(tmp_path: Path) -> None:
    async def handing(_: TaskSpec, io: Any) -> Outcome:
        outcome: Outcome = await io.hand_over()
        return outcome

    async with staged(tmp_path, handing) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1")
        assigned = await device.take()
        await device.say("task_end", status="completed", session_id=assigned["session_id"], result={"a": 1})
        assert await stage.output(task) == {"a": 1}
        assert (await device.hear("task_end"))["status"] == "completed"


async def test_large_results(tmp_path: Path) -> None:
    async def shot(_: TaskSpec, io: DeviceIO) -> Outcome:
        [result] = await io.call([ToolCall("capture_screenshot", kind="data_collection")], agent="LinuxAgent")
        return Outcome(True, len(result.result))

    size = 99 * 1024 * 1024
    async with staged(tmp_path, shot) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1")
        await device.take()
        await device.answer("x" * size)
        assert await stage.output(task) == size


async def test_a_message_beyond_the_limit_closes_with_1009(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("d1") as device:
        await device.socket.send("x" * (100 * 1024 * 1024 + 1))
        assert await device.ended() == 1009
        await soon(lambda: stage.registry.online() == [])


# the server's own end


async def test_a_stopping_server_ends_what_runs_and_says_so(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("k", "constellation") as k,
    ):
        await k.ask("running")
        await k.hear("heartbeat")
        await device.hear("command")
        later = await stage.dispatch("d1", "later", "later")
        await stage.workers.stop()
        for client in (k, device):
            assert (await client.hear("task_end"))["error"] == "The server is stopping"
        assert await stage.failure("running") == "The server is stopping"
        await stage.workers.stop()
        assert (await stage.fabric.tasks.get(later.id)).state == "queued"


async def test_a_listener_that_stops_first_leaves_a_failure_too(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage, stage.client("d1") as device:
        task = await stage.dispatch("d1")
        await device.take()
        await device.hear("command")
        stage.stop()
        assert await device.ended() == 1001
        assert await stage.failure(task) == "Target device d1 disconnected"


async def test_a_client_that_does_not_read_is_cut_and_others_notice_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treadle.faces.ufo.registry.OUTBOX_FRAMES", 8)
    heavy = {"system_info": {"device_id": "d1", "notes": "x" * 1_000_000}}
    async with (
        staged(tmp_path) as stage,
        stage.client("d1", metadata=heavy) as device,
        stage.client("k", "constellation") as k,
    ):
        k.socket.transport.pause_reading()
        for n in range(64):
            await k.say("device_info_request", target_id="d1", request_id=str(n))
        await soon(lambda: stage.registry.online() == ["d1"])
        await device.say("heartbeat")
        await device.hear("heartbeat")
        k.socket.transport.abort()

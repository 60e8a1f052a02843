"""Constellations on a real socket: what they ask of devices, what they hear, and how it ends (spec 5.4, 5.6, 7, 10)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faces.ufo.aip_stage import CALLER, one_command, staged
from treadle.faces.ufo.options import Limits


async def test_a_constellation_task_as_in_the_worked_example(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("night@d1", "constellation", target_id="d1") as k,
    ):
        await k.ask()
        accepted = await k.hear("heartbeat")
        assert (accepted["status"], accepted["session_id"]) == ("ok", "night@t1")
        command = await device.answer("Linux")  # no assignment: a command is the first it hears
        assert (command["session_id"], command["task_name"]) == ("night@t1", "galaxy/night/t1")
        end = await k.hear("task_end")
        assert await device.hear("task_end") == end
        assert (end["status"], end["session_id"]) == ("completed", "night@t1")
        assert end["result"] == [{"request": "Which OS is this?", "result": "Linux"}]
        assert await stage.output("night@t1") == "Linux"
        await k.ask()  # after its end the id is free again
        await k.hear("heartbeat")
        await device.answer("Linux again")
        await k.hear("task_end")


async def test_a_refused_constellation_task_is_ended_so_that_nobody_waits(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("k", "constellation") as k:
        await k.ask(target="nobody")
        assert (await k.hear("error"))["session_id"] == "night@t1"
        end = await k.hear("task_end")
        assert (end["status"], end["session_id"]) == ("failed", "night@t1")


async def test_a_session_id_belongs_to_who_used_it_first(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("k1", "constellation") as first,
        stage.client("k2", "constellation") as second,
    ):
        await first.ask()
        await first.hear("heartbeat")
        await second.ask()
        await second.hear("error")
        assert (await second.hear("task_end"))["status"] == "failed"
        await first.ask()  # its own again: refused, and the first goes on
        assert "going on already" in (await first.hear("error"))["error"]
        await device.answer("Linux")
        assert (await first.hear("task_end"))["status"] == "completed"


async def test_a_constellation_that_leaves_ends_what_it_asked_for(tmp_path: Path) -> None:
    async with staged(tmp_path, one_command) as stage, stage.client("d1") as device:
        async with stage.client("k", "constellation") as k:
            await k.ask("running")
            await k.hear("heartbeat")
            await k.ask("waiting")
            await k.hear("heartbeat")
            await device.hear("command")
            k.kill()
            end = await device.hear("task_end")
            assert (end["status"], end["session_id"]) == ("failed", "running")
        assert "asked for this" in await stage.failure("running")
        assert "asked for this" in await stage.failure("waiting")
        after = await stage.dispatch("d1")
        await device.take()
        await device.answer("fine")
        assert await stage.output(after) == "fine"


async def test_a_device_that_leaves_ends_what_constellations_asked_of_it(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("k", "constellation") as k,
    ):
        await k.ask("running")
        await k.ask("waiting")
        assert [(await k.hear("heartbeat"))["session_id"] for _ in range(2)] == ["running", "waiting"]
        await device.hear("command")
        device.kill()
        ends = [await k.hear("task_end") for _ in range(2)]
        assert {end["session_id"] for end in ends} == {"running", "waiting"}
        for end in ends:
            assert (end["status"], end["error"]) == ("failed", "Target device d1 disconnected")
        assert await stage.failure("running") == await stage.failure("waiting") == "Target device d1 disconnected"


async def test_a_full_queue_refuses_a_constellation(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command, limits=Limits(queue=1)) as stage,
        stage.client("d1") as device,
        stage.client("k", "constellation") as k,
    ):
        await k.ask("running")
        await k.hear("heartbeat")
        await device.hear("command")
        await k.ask("waiting")
        await k.hear("heartbeat")
        await k.ask("too many")
        assert (await k.hear("error"))["session_id"] == "too many"
        end = await k.hear("task_end")
        assert (end["status"], end["session_id"]) == ("failed", "too many")
        assert "full" in end["error"]


async def test_a_task_called_off_by_somebody_else_ends_for_everybody(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("k", "constellation") as k,
    ):
        await k.ask("running")
        await k.ask("waiting")
        assert [(await k.hear("heartbeat"))["session_id"] for _ in range(2)] == ["running", "waiting"]
        await device.hear("command")
        for session in ("waiting", "running"):
            task = await stage.task_of(session)
            await stage.fabric.tasks.cancel(task, CALLER, "not wanted")
        await stage.workers.look()
        end = await k.hear("task_end")
        assert (end["session_id"], end["error"]) == ("waiting", "not wanted")
        await stage.workers.extend()
        end = await k.hear("task_end")
        assert (end["session_id"], end["status"]) == ("running", "failed")
        assert (await device.hear("task_end"))["session_id"] == "running"


async def test_calling_off_a_session(tmp_path: Path) -> None:
    async with (
        staged(tmp_path, one_command) as stage,
        stage.client("d1") as device,
        stage.client("k", "constellation") as k,
    ):
        await k.ask("running")
        await k.ask("waiting")
        assert [(await k.hear("heartbeat"))["session_id"] for _ in range(2)] == ["running", "waiting"]
        await device.hear("command")
        await stage.workers.cancel("waiting", "not wanted")
        assert (await k.hear("task_end"))["session_id"] == "waiting"
        await stage.workers.cancel("running", "not wanted")
        assert (await k.hear("task_end"))["error"] == "not wanted"
        assert await stage.failure("running") == await stage.failure("waiting") == "not wanted"


async def test_device_information(tmp_path: Path) -> None:
    async with (
        staged(tmp_path) as stage,
        stage.client("d1"),
        stage.client("d2", metadata=None),
        stage.client("k", "constellation") as k,
    ):
        for target, known in (("d1", True), ("d2", False), ("k", False), ("nobody", False)):
            await k.say("device_info_request", target_id=target, request_id=f"q-{target}")
            answer = await k.hear("device_info_response")
            assert (answer["status"], answer["response_id"]) == ("ok", f"q-{target}")
            if known:
                assert answer["result"] == {"device_id": "d1", "platform": "linux"}
            else:
                assert answer["result"].keys() == {"error"}


async def test_a_constellation_s_heartbeats_as_the_stock_one_sends_them(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, stage.client("k", "constellation") as k:
        for _ in range(3):
            await k.socket.send(json.dumps({"type": "heartbeat", "status": "ok", "client_id": "k"}))
            assert await k.hear() == {"type": "heartbeat", "status": "ok"}

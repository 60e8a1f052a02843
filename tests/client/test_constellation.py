"""A constellation against a scripted server: the frames of the document, several devices, and what is lost."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.device.scripted import Peer, Scripted, scripted
from treadle.client.constellation import Constellation, Ended, NotConnected


async def served(script: Scripted, results: dict[str, object]) -> None:
    """Take in a constellation for each of these devices, and end its one task with the result."""

    async def one() -> None:
        peer = await script.client()
        target = (await peer.accept())["target_id"]
        task = await peer.heard("task")
        await peer.say(type="heartbeat", status="ok", session_id=task["session_id"])
        arrived.append(target)
        if len(arrived) == len(results):
            everybody.set()
        await everybody.wait()  # so all of them run at the same time
        await peer.say(
            type="task_end", status="completed", session_id=task["session_id"], response_id="e", result=results[target]
        )

    arrived: list[str] = []
    everybody = asyncio.Event()
    await asyncio.gather(*(one() for _ in results))


async def accepted(peer: Peer) -> str:
    """The session of a task that a server has accepted."""
    task = await peer.heard("task")
    session: str = task["session_id"]
    await peer.say(type="heartbeat", status="ok", session_id=session)
    return session


async def test_the_frames_are_those_of_the_document() -> None:
    async with scripted() as script, Constellation(script.url, "night", token="a b") as night:
        ending = asyncio.create_task(night.submit("lab-1", "Which OS is this?", task_name="t1", metadata={"k": 1}))
        peer = await script.client()
        assert peer.path == "/ws?token=a%20b"
        register = await peer.heard("register")
        assert (register["client_type"], register["client_id"], register["target_id"]) == (
            "constellation", "night@lab-1", "lab-1",
        )  # fmt: skip
        assert register["metadata"]["type"] == "constellation_client"
        await peer.say(type="heartbeat", status="ok")
        beat = await peer.heard("heartbeat")
        assert (beat["client_type"], beat["client_id"]) == ("constellation", "night@lab-1")
        task = await peer.heard("task")
        assert (task["status"], task["request"], task["task_name"], task["target_id"], task["metadata"]) == (
            "continue", "Which OS is this?", "t1", "lab-1", {"k": 1},
        )  # fmt: skip
        session = task["session_id"]
        assert session.startswith("night@")
        await peer.say(type="heartbeat", status="ok", session_id=session)
        await peer.say(type="task_end", status="completed", session_id="night@other", result=["not ours"])
        rounds = [{"request": "Which OS is this?", "result": "Linux"}]
        await peer.say(type="task_end", status="completed", session_id=session, response_id="e-1", result=rounds)
        assert await ending == Ended("lab-1", True, rounds, None, session)
    assert await peer.closed() == 1000


async def test_several_devices_work_at_the_same_time_and_all_are_waited_for() -> None:
    results: dict[str, object] = {f"lab-{number}": [{"result": number}] for number in range(5)}
    async with scripted() as script, Constellation(script.url, "night") as night:
        serving = asyncio.create_task(served(script, results))
        ended = await night.run(dict.fromkeys(results, "run: hostname"), timeout=20)
        await serving
    assert {device: each.result for device, each in ended.items()} == results
    assert all(each.ok for each in ended.values())


async def test_one_socket_serves_a_device_for_long() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        both = [asyncio.create_task(night.submit("lab-1", f"do {number}")) for number in range(2)]
        peer = await script.device()
        sessions = [await accepted(peer) for _ in both]
        for session in reversed(sessions):
            await peer.say(type="task_end", status="completed", session_id=session, result=session)
        assert [(await each).result for each in both] == sessions


async def test_a_failed_task_says_why() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        ending = asyncio.create_task(night.submit("lab-1", "x"))
        peer = await script.device()
        session = await accepted(peer)
        await peer.say(type="error", status="error", error="something that is not about the task")
        await peer.say(type="task_end", status="failed", session_id=session, error="target device disconnected")
        ended = await ending
    assert (ended.ok, ended.error) == (False, "target device disconnected")


@pytest.mark.parametrize("named", [True, False])
async def test_a_refused_task_fails_also_where_the_server_does_not_say_which(named: bool) -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        ending = asyncio.create_task(night.submit("lab-1", "x"))
        peer = await script.device()
        task = await peer.heard("task")
        await peer.say(
            type="error", status="error", error="no such target", session_id=task["session_id"] if named else None
        )
        assert (await ending).error == "no such target"


async def test_a_lost_connection_ends_what_waited_and_the_next_task_opens_another() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        ending = asyncio.create_task(night.submit("lab-1", "x"))
        peer = await script.device()
        await accepted(peer)
        await peer.cut()
        ended = await ending
        assert not ended.ok
        assert "connection to the server was lost" in str(ended.error)
        ending = asyncio.create_task(night.submit("lab-1", "x"))
        peer = await script.device()
        session = await accepted(peer)
        await peer.say(type="task_end", status="completed", session_id=session)
        assert (await ending).ok


async def test_a_device_that_is_away_has_failed_and_the_others_have_not() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        running = asyncio.create_task(night.run({"here": "x", "away": "x"}))
        for _ in range(2):
            peer = await script.client()
            register = await peer.heard("register")
            if register["target_id"] == "away":
                await peer.say(type="error", status="error", error="target device away is not connected")
                continue
            await peer.say(type="heartbeat", status="ok")
            session = await accepted(peer)
            await peer.say(type="task_end", status="completed", session_id=session)
        ended = await running
    assert ended["here"].ok
    assert ended["away"] == Ended("away", False, error="target device away is not connected")


async def test_a_task_that_never_ends_is_given_up() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        ending = asyncio.create_task(night.submit("lab-1", "x", timeout=0.2))
        await script.device()
        assert (await ending).error == "it did not end within 0.2 s"


async def test_what_the_server_knows_of_a_device() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        peer: Peer | None = None
        for answer, result in (("ok", {"platform": "linux"}), ("ok", {"error": "no information"}), ("error", None)):
            asking = asyncio.create_task(night.info("lab-1"))
            peer = peer or await script.device()
            asked = await peer.heard("device_info_request")
            assert asked["target_id"] == "lab-1"
            await peer.say(type="device_info_response", status=answer, response_id=asked["request_id"], result=result)
            if result and "platform" in result:
                assert await asking == result
            else:
                with pytest.raises(NotConnected):
                    await asking


async def test_nobody_there_and_the_token_in_no_message() -> None:
    async with scripted() as script:
        url = script.url
    async with Constellation(url, "night", token="sesame") as night:
        with pytest.raises(NotConnected) as caught:
            await night.submit("lab-1", "x")
    assert "cannot be reached" in str(caught.value)
    assert "sesame" not in str(caught.value)
    async with Constellation("ws://[not-a-host/ws", "night", token="sesame") as night:
        with pytest.raises((NotConnected, ValueError)) as wrong:
            await night.submit("lab-1", "x")
    assert "sesame" not in str(wrong.value)


async def test_what_is_no_frame_is_passed_over() -> None:
    async with scripted() as script, Constellation(script.url, "night") as night:
        ending = asyncio.create_task(night.submit("lab-1", "x"))
        peer = await script.client()
        await peer.heard("register")
        await peer.socket.send("{")
        await peer.socket.send(json.dumps({"type": "heartbeat", "status": "ok", "actions": 3}))
        session = await accepted(peer)
        for junk in ("[]", b"\xff", '{"type":"task_end"}'):
            await peer.socket.send(junk)
        await peer.say(type="task_end", status="completed", session_id=session)
        assert (await ending).ok

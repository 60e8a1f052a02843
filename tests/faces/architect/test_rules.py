"""The hard rules that follow from the printed client (spec 3.1), and the semantics of tokens, over a real socket."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.faces.architect.offered import World
from tests.faces.architect.serving import agent
from treadle.faces.architect import performing

CLIENT_LIMIT = 1024 * 1024


async def test_under_load_each_token_gets_one_reply_and_frames_are_objects(tmp_path: Path) -> None:
    """Rules 1, 2, 3, 4, 5 and 7."""
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running, running.client() as client, running.client() as noisy:
        asked = ["ping", "large", "list_actions", "servers", "nonsense", "events", "sessions"]
        choose = random.Random(7)
        for _ in range(12):
            names = [choose.choice(asked) for _ in range(8)]
            replies = await asyncio.gather(
                *(client.ask(name) for name in names), noisy.ask("server_start", server="alpha")
            )
            assert [reply["action"] for reply in replies[:-1]] == names
            await asyncio.sleep(0.15)  # stay below the rate of 50 requests a second
        tokens = [frame["idempotence"] for frame in client.frames if "idempotence" in frame]
        assert len(tokens) == len(set(tokens)) == 96
        assert all(("event" in frame) != ("idempotence" in frame) for frame in client.frames)
        assert all(isinstance(frame["parameters"], dict) for frame in client.frames)
        assert max(len(json.dumps(frame)) for frame in client.frames) < CLIENT_LIMIT
        large = [frame for frame in client.frames if frame.get("action") == "large"]
        assert {frame["parameters"]["error"] for frame in large} == {"too_large"}
        starts = [event for event in client.events if event["event"] == "server.started"]
        assert len(starts) == 12


async def test_an_answer_comes_in_time_and_the_change_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5: the same token asks for the outcome later."""
    monkeypatch.setattr(performing, "ANSWER_SECONDS", 0.05)
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running, running.client() as client:
        frame = {"action": "slow_change", "parameters": {}}
        first = await client.send(frame, "t1")
        assert first["parameters"]["error"] == "timeout"
        assert (await client.refused("timeout", "slow_look"))["message"].startswith("No answer")
        world.gate.set()
        again = await client.send(frame, "t1")
        assert (again["parameters"], again["replayed"]) == ({"done": True}, True)
        assert world.done == [("slow", "")]


async def test_a_token_is_done_once_across_connections(tmp_path: Path) -> None:
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running:
        frame = {"action": "slow_change", "parameters": {}}
        async with running.client() as first:
            await first.connection.send(json.dumps({**frame, "idempotence": "t"}))
            await world.begun.wait()
        async with running.client() as second, running.client() as third:
            waiting = [asyncio.create_task(each.send(frame, "t")) for each in (second, third)]
            await second.fine("ping")
            await third.fine("ping")
            world.gate.set()
            replies = await asyncio.gather(*waiting)
            assert [reply["replayed"] for reply in replies] == [True, True]
            assert world.done == [("slow", "")]
            other = await second.send({"action": "server_start", "parameters": {"server": "alpha"}}, "t")
            assert other["parameters"]["error"] == "idempotence_conflict"


async def test_without_a_token_the_reply_has_none(tmp_path: Path) -> None:
    async with agent(tmp_path) as running, running.client() as client:
        await client.connection.send('{"action":"ping"}')
        frame = await client.until(lambda: [each for each in client.frames if each.get("action") == "ping"])
        assert "idempotence" not in frame[0]


async def test_stopping_answers_what_is_pending_and_then_closes(tmp_path: Path) -> None:
    """Rule 8."""
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running, running.client() as client:
        waiting = [asyncio.create_task(client.ask(name)) for name in ("slow_change", "slow_look")]
        await world.begun.wait()
        await client.fine("ping")
        leaving = asyncio.create_task(running.app.leave())
        replies = await asyncio.gather(*waiting)
        assert {reply["parameters"]["error"] for reply in replies} == {"shutting_down"}
        await client.event("agent.stopping", version="1.2.3")
        assert await client.code() == 1001
        world.gate.set()
        await leaving
        assert world.done == [("slow", "")]


async def test_pings_are_answered_while_an_action_runs(tmp_path: Path) -> None:
    """Rule 9."""
    world = World()
    async with agent(tmp_path, offers=world.offers()) as running, running.client() as client:
        waiting = asyncio.create_task(client.ask("slow_look"))
        await world.begun.wait()
        async with asyncio.timeout(5):
            await (await client.connection.ping())
        assert not waiting.done()
        world.gate.set()
        await waiting


@pytest.mark.parametrize(
    ("message", "code"), [(b"{}", 1003), ("x" * (CLIENT_LIMIT + 1), 1009)], ids=["binary", "large"]
)
async def test_closing_codes(tmp_path: Path, message: str | bytes, code: int) -> None:
    async with agent(tmp_path) as running, running.client() as client:
        await client.connection.send(message)
        assert await client.code() == code


async def test_a_client_that_errs_too_often_is_closed(tmp_path: Path) -> None:
    async with agent(tmp_path) as running, running.client() as client:
        for _ in range(20):
            await client.connection.send("{")
        assert await client.code() == 1008
        assert sum(each["event"] == "protocol.error" for each in client.events) == 20


async def test_a_slow_client_is_dropped_and_others_are_not(tmp_path: Path) -> None:
    async with agent(tmp_path) as running, running.dial(max_queue=1), running.client() as quick:
        own = (await quick.fine("whoami"))["session"]
        (session,) = (each for each in running.app.telling.sessions.values() if each.id != own)
        news = running.app.telling.live("agent.ready", "public", text="x" * 100_000)
        sent = 0
        while session._closing is None:
            await running.app.telling.say(news)
            sent += 1
            await quick.fine("ping")
            await asyncio.sleep(0.02)  # stay below the rate of 50 requests a second
            assert sent < 500
        assert session._closing[0] == 4413
        assert session.outbox.size == 0
        await quick.until(lambda: sum(each["event"] == "agent.ready" for each in quick.events) >= sent)

"""The actions on the agent, its sessions and its events (spec 7.1, 8), over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faces.architect.offered import World
from tests.faces.architect.serving import Agent, Client, agent
from treadle.faces.architect.options import LogEntry

PASSWORD = "a-Good-pass-1"


@pytest.fixture
def called() -> list[Any]:
    return []


@pytest.fixture
async def running(tmp_path: Path, called: list[Any]) -> AsyncIterator[Agent]:
    async with agent(
        tmp_path,
        offers=World().offers(),
        settings=lambda: ({"listen": {"architect": "127.0.0.1:8090"}}, {"listen.architect": "default"}),
        entries=lambda lines, level, before: [LogEntry("1", 1.5, level or "info", f"{lines} {before}")],
        reload=lambda: called.append("reload"),
        shutdown=called.append,
    ) as running:
        yield running


@pytest.fixture
async def root(running: Agent) -> AsyncIterator[Client]:
    async with running.client() as client:
        yield client


async def test_the_catalogue(root: Client) -> None:
    rows = (await root.fine("list_actions"))["actions"]
    assert {
        "list_actions", "whoami", "ping", "agent_info", "agent_health", "agent_config", "agent_config_set", "agent_log",
        "agent_reload", "agent_shutdown", "system_info", "system_metrics", "sessions", "session_close", "audit_log",
        "subscribe", "unsubscribe", "events", "users", "user", "user_create", "user_delete", "user_password",
        "user_roles", "user_disable", "roles", "role_create", "role_update", "role_delete", "permissions", "bans",
        "ban_remove", "servers",
    } <= set(rows)  # fmt: skip
    assert all(isinstance(row["required_parameters"], dict) for row in rows.values())
    assert not any(row["cloud_controller_only"] for row in rows.values())
    assert rows["user_create"]["required_parameters"] == {"username": "str"}
    assert rows["user_create"]["optional_parameters"] == {"password": "str?", "roles": "list[str]"}
    assert rows["role_update"]["required_parameters"] == {"role": "str", "changes": "map"}
    assert rows["whoami"]["permission"] is None


async def test_what_is_not_given_is_not_offered(tmp_path: Path) -> None:
    async with agent(tmp_path) as bare, bare.client() as client:
        rows = (await client.fine("list_actions"))["actions"]
        assert not {"agent_log", "agent_reload", "agent_shutdown"} & set(rows)


async def test_errors(root: Client) -> None:
    assert (await root.refused("unknown_action", "servrs"))["details"]["similar"][0] == "servers"
    assert (await root.refused("missing_parameters", "server_send", input="x"))["details"] == {"missing": ["server"]}
    wrong = (await root.refused("invalid_parameters", "server_send", server=7, colour="red"))["details"]
    assert set(wrong) == {"server", "input", "colour"}
    assert (await root.refused("not_found", "server", server="gamma"))["details"] == {"server": "gamma"}
    assert (await root.refused("busy", "broken", server="busy"))["details"] == {"job": "j1"}
    assert (await root.refused("rate_limited", "broken", server="often"))["details"] == {"retry_after": 3}
    full = await root.refused("internal", "broken", server="full")
    assert "/a/path" not in full["message"]
    inner = await root.refused("internal", "broken", server="x")
    assert "secret" not in str(inner)
    assert inner["details"]["reference"] == (await root.fine("whoami"))["session"]


async def test_the_agent_tells_of_itself(running: Agent, root: Client, called: list[Any]) -> None:
    info = await root.fine("agent_info")
    assert (info["version"], info["protocol"], info["ssl"]) == ("1.2.3", "SMP1.0", True)
    assert len(info["fingerprint"]) == 64
    health = await root.fine("agent_health")
    assert (health["status"], health["queues"]["connections"]) == ("ok", 1)
    assert health["checks"]["store"] == {"ok": True, "message": "answers"}
    machine = await root.fine("system_info")
    assert machine["memory"]["total"] > 0
    assert machine["cpu"]["cores"] >= 1
    metrics = await root.fine("system_metrics")
    assert set(metrics["now"]) == set(metrics["names"])
    assert 0 < metrics["now"]["ram"] < 100
    assert (await root.fine("agent_log", lines=5))["entries"][0]["message"] == "5 None"
    await root.fine("agent_reload")
    await root.fine("agent_shutdown", stop_servers=True)
    assert called == ["reload", True]
    assert (await root.fine("ping", payload={"x": [1]}))["payload"] == {"x": [1]}


async def test_settings_change_while_it_runs(running: Agent, root: Client, tmp_path: Path) -> None:
    shown = await root.fine("agent_config")
    assert shown["settings"]["listen"] == {"architect": "127.0.0.1:8090"}
    assert shown["settings"]["authorization"]["fail2ban_attempts"] == 5
    changed = await root.fine("agent_config_set", settings={"fail2ban_attempts": 2, "audit_logs_retention": 7})
    assert changed == {"changed": ["fail2ban_attempts"], "restart_required": False}
    await root.event("agent.config_changed", by="root")
    shown = await root.fine("agent_config")
    assert shown["settings"]["authorization"]["fail2ban_attempts"] == 2
    assert shown["sources"]["fail2ban_attempts"] == "agent_config_set"
    details = await root.refused("invalid_parameters", "agent_config_set", settings={"fail2ban_attempts": 0, "x": 1})
    assert set(details["details"]) == {"fail2ban_attempts", "x"}
    assert running.app.conducting.now.fail2ban_attempts == 2


async def test_sessions(running: Agent, root: Client) -> None:
    await root.fine("user_create", username="eve", password=PASSWORD)
    async with running.client("eve", PASSWORD) as eve:
        own = await eve.fine("whoami")
        assert own["address"] == "127.0.0.1"
        begun = await root.event("session.begin", session=own["session"])
        assert (begun["parameters"]["user"], begun["parameters"]["ip_address"]) == ("eve", "127.0.0.1")
        rows = {each["session"]: each for each in (await root.fine("sessions"))["sessions"]}
        assert rows[own["session"]]["username"] == "eve"
        await root.fine("session_close", session=own["session"])
        assert await eve.code() == 1000
        assert not any(each["event"].startswith("session.") for each in eve.events)
    await root.event("session.ended", session=own["session"])
    await root.refused("not_found", "session_close", session=own["session"])


async def test_events_catch_up_after_a_reconnect(running: Agent) -> None:
    async with running.client() as first:
        await first.fine("server_start", server="alpha")
        seen = await first.event("server.started", server="alpha")
    async with running.client() as second:
        await second.fine("server_start", server="beta")
        last = await second.event("server.started", server="beta")
        missed = await second.fine("events", since=seen["cursor"])
        names = [each["event"] for each in missed["events"]]
        assert names == ["session.ended", "session.begin", "server.started"]
        assert missed["events"][-1] == last
        assert missed["cursor"] == last["cursor"]
        page = await second.fine("events", since=seen["cursor"], limit=1)
        assert [each["event"] for each in page["events"]] == ["session.ended"]
        rest = await second.fine("events", since=page["cursor"], names=["server.*"], server="beta")
        assert rest["events"] == [last]
        assert (await second.fine("events", since=last["cursor"]))["events"] == []


async def test_a_stream(root: Client) -> None:
    await root.refused("not_found", "subscribe", topic="nothing")
    await root.refused("not_found", "subscribe", topic="console")  # it is of one server
    asked = await root.fine("subscribe", topic="console", server="alpha", since=1)
    heard = await root.event("server.output", subscription=asked["subscription"])
    assert heard["parameters"]["lines"] == [{"seq": 1, "text": "hello"}]
    assert "cursor" not in heard
    await root.fine("unsubscribe", subscription=asked["subscription"])
    await root.refused("not_found", "unsubscribe", subscription=asked["subscription"])
    for _ in range(64):
        await root.fine("subscribe", topic="console", server="alpha", since=3)
    await root.refused("limit_exceeded", "subscribe", topic="console", server="alpha")


async def test_facts_with_a_topic_need_a_subscription(running: Agent, root: Client) -> None:
    from treadle.faces.architect.events import fact

    async def back_up(name: str, server: str) -> None:
        known = fact("backup.created", name, running.clock(), server=server)
        await running.fabric.store.write(lambda tx: tx.append_events([known]))

    await back_up("unheard", "alpha")
    await root.fine("server_start", server="alpha")
    await root.event("server.started", server="alpha")
    await root.fine("subscribe", topic="backups", server="alpha")
    await back_up("elsewhere", "beta")
    await back_up("heard", "alpha")
    await root.event("backup.created", backup="heard", server="alpha")
    assert [each["parameters"]["backup"] for each in root.events if each["event"] == "backup.created"] == ["heard"]


async def test_the_audit(running: Agent, root: Client) -> None:
    await root.fine("user_create", username="eve", password=PASSWORD)
    async with running.client("eve", PASSWORD) as eve:
        await eve.refused("permission_denied", "server_start", server="alpha")
    await root.fine("server_start", server="alpha")
    session = (await root.fine("whoami"))["session"]
    (entry,) = (await root.fine("audit_log", action="server_start", user="root"))["entries"]
    assert {name: entry[name] for name in entry if name != "date"} == {
        "user": "root", "session": session, "address": "127.0.0.1", "action": "server_start", "server": "alpha",
        "parameters": {"server": "alpha"}, "outcome": "ok",
    }  # fmt: skip
    (entry,) = (await root.fine("audit_log", user="eve"))["entries"]
    assert entry["outcome"] == "permission_denied"
    page = await root.fine("audit_log", limit=2)
    assert [each["action"] for each in page["entries"]] == ["user_create", "server_start"]
    page = await root.fine("audit_log", limit=2, cursor=page["cursor"])
    assert [each["action"] for each in page["entries"]] == ["server_start", "whoami"]
    assert (await root.fine("audit_log", since=entry["date"] + 1000))["entries"] == []
    assert (await root.fine("audit_log", until=entry["date"] - 1000))["entries"] == []
    assert (await root.fine("audit_log", server="beta"))["entries"] == []
    running.clock.advance(7 * 86_400 + 60)
    assert [each["action"] for each in (await root.fine("audit_log"))["entries"]] == []


async def test_many_hear_one_event(running: Agent) -> None:
    async with running.client() as first, running.client() as second:
        await asyncio.gather(*(first.fine("server_start", server="alpha") for _ in range(20)))
        await first.until(lambda: sum(each["event"] == "server.started" for each in first.events) == 20)
        await second.until(lambda: sum(each["event"] == "server.started" for each in second.events) == 20)
        cursors = [each["cursor"] for each in second.events]
        assert cursors == sorted(cursors)

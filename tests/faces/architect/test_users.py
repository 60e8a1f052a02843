"""Users, roles and what they may do (spec 5, 7.5), over a real socket."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.faces.architect.offered import World
from tests.faces.architect.serving import Agent, Client, agent

PASSWORD = "a-Good-pass-1"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Agent]:
    async with agent(tmp_path, tls=False, offers=World().offers()) as running:
        yield running


@pytest.fixture
async def root(running: Agent) -> AsyncIterator[Client]:
    async with running.client() as client:
        yield client


async def refused(running: Agent, name: str, password: str) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        async with running.dial(name, password):
            pass
    return refusal.value.response.status_code


async def role(root: Client, name: str, permissions: list[str], servers: list[str] | None = None) -> None:
    await root.fine("role_create", role=name, permissions=permissions, servers=servers or [])


async def test_a_user_from_birth_to_death(running: Agent, root: Client) -> None:
    made = await root.fine("user_create", username="eve")
    assert str(uuid.UUID(made["password"])) == made["password"]
    assert (made["username"], made["roles"], made["disabled"]) == ("eve", ["default"], False)
    assert "password" not in await root.fine("user", username="eve")
    assert [user["username"] for user in (await root.fine("users"))["users"]] == ["eve", "root"]
    await root.event("user.created", username="eve", by="root")
    await root.refused("already_exists", "user_create", username="eve")
    async with running.client("eve", made["password"]) as eve:
        who = await eve.fine("whoami")
        assert (who["username"], who["roles"], who["permissions"]) == ("eve", ["default"], ["agent.info"])
        assert (await eve.refused("permission_denied", "users"))["details"] == {"permission": "user.list"}
        await root.fine("user_delete", username="eve")
        assert await eve.code() == 4403
    await root.event("user.deleted", username="eve")
    assert await refused(running, "eve", made["password"]) == 401
    await root.refused("not_found", "user", username="eve")
    await root.refused("not_found", "user_delete", username="eve")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("e e", PASSWORD),
        ("e@e", PASSWORD),
        ("é", PASSWORD),
        ("SMP1.0", PASSWORD),
        ("eve", "with spaces in it"),
        ("eve", "with:colon/slash="),
        ("eve", "short"),
        ("eve", "aaaaaaaaaaaaaaaa"),
        ("evelyn-the-first", "evelyn-the-first"),
    ],
)
async def test_credentials_that_no_client_could_send(root: Client, name: str, password: str) -> None:
    await root.refused("invalid_parameters", "user_create", username=name, password=password)


async def test_a_changed_password_ends_connections(running: Agent, root: Client) -> None:
    await root.fine("user_create", username="eve", password=PASSWORD)
    async with running.client("eve", PASSWORD) as eve:
        await eve.refused("permission_denied", "user_password", password=PASSWORD, username="root")
        await eve.fine("user_password", password="another-Pass-2")
        assert await eve.code() == 4401
    assert await refused(running, "eve", PASSWORD) == 401
    async with running.client("eve", "another-Pass-2") as eve:
        await root.fine("user_password", username="eve", password=PASSWORD)
        assert await eve.code() == 4401


async def test_a_disabled_user(running: Agent, root: Client) -> None:
    await root.fine("user_create", username="eve", password=PASSWORD)
    async with running.client("eve", PASSWORD) as eve:
        await root.fine("user_disable", username="eve")
        assert await eve.code() == 4403
    assert await refused(running, "eve", PASSWORD) == 401
    await root.fine("user_disable", username="eve", disabled=False)
    async with running.client("eve", PASSWORD):
        pass


async def test_root_and_built_in_roles_stay(root: Client) -> None:
    for action, parameters in (
        ("user_delete", {"username": "root"}),
        ("user_roles", {"username": "root", "roles": []}),
        ("user_disable", {"username": "root"}),
        ("role_delete", {"role": "root"}),
        ("role_update", {"role": "default", "changes": {"permissions": ["*"]}}),
    ):
        await root.refused("conflict", action, **parameters)
    await root.refused("already_exists", "role_create", role="root", permissions=[])


async def test_roles(root: Client) -> None:
    await role(root, "ops", ["server.*", "agent.info"], ["alpha"])
    await root.event("role.created", role="ops")
    listed = {each["role"]: each for each in (await root.fine("roles"))["roles"]}
    assert list(listed) == ["root", "default", "ops"]
    assert listed["ops"] == {
        "role": "ops", "permissions": ["server.*", "agent.info"], "servers": ["alpha"], "fixed": False,
    }  # fmt: skip
    assert listed["root"]["fixed"]
    changed = await root.fine("role_update", role="ops", changes={"servers": []})
    assert (changed["servers"], changed["permissions"]) == ([], ["server.*", "agent.info"])
    await root.fine("user_create", username="eve", roles=["ops"])
    await root.refused("conflict", "role_delete", role="ops")
    await root.fine("user_roles", username="eve", roles=[])
    await root.fine("role_delete", role="ops")
    await root.refused("not_found", "role_delete", role="ops")
    await root.refused("invalid_parameters", "user_roles", username="eve", roles=["ops"])
    details = (await root.refused("invalid_parameters", "role_create", role="x", permissions=["server.strat"]))[
        "details"
    ]
    assert details == {"permissions.server.strat": "there is no such permission"}
    words = [each["permission"] for each in (await root.fine("permissions"))["permissions"]]
    assert {"server.start", "user.password", "agent.info", "backup.list", "server.console"} <= set(words)


async def test_nobody_gives_what_they_do_not_have(running: Agent, root: Client) -> None:
    await role(root, "clerk", ["user.*", "role.*"])
    await role(root, "ops", ["server.*"])
    await root.fine("user_create", username="eve", password=PASSWORD, roles=["clerk"])
    await root.fine("user_create", username="bob", password=PASSWORD, roles=["ops"])
    async with running.client("eve", PASSWORD) as eve:
        for action, parameters in (
            ("user_create", {"username": "x", "roles": ["root"]}),
            ("user_create", {"username": "x", "roles": ["ops"]}),
            ("user_roles", {"username": "eve", "roles": ["root"]}),
            ("user_roles", {"username": "bob", "roles": []}),
            ("user_password", {"username": "root", "password": PASSWORD}),
            ("user_password", {"username": "bob", "password": PASSWORD}),
            ("user_disable", {"username": "bob"}),
            ("user_delete", {"username": "bob"}),
            ("role_create", {"role": "x", "permissions": ["*"]}),
            ("role_create", {"role": "x", "permissions": ["server.start"]}),
            ("role_update", {"role": "ops", "changes": {"servers": ["alpha"]}}),
            ("role_update", {"role": "clerk", "changes": {"permissions": ["user.*", "role.*", "server.start"]}}),
            ("role_delete", {"role": "ops"}),
        ):
            await eve.refused("permission_denied", action, **parameters)
        await eve.fine("role_create", role="reader", permissions=["user.list"])
        await eve.fine("user_create", username="x", roles=["reader"])


async def test_a_role_on_some_servers(running: Agent, root: Client) -> None:
    world: World = running.app.performing._actions["servers"].run.__self__  # type: ignore[attr-defined]
    await role(root, "on_alpha", ["server.*"], ["alpha"])
    await role(root, "starts_beta", ["server.start"], ["beta"])
    await root.fine("user_create", username="eve", password=PASSWORD, roles=["on_alpha", "starts_beta"])
    async with running.client("eve", PASSWORD) as eve:
        assert (await eve.fine("whoami"))["servers"] == {"alpha": ["server.*"], "beta": ["server.start"]}
        shown = await eve.fine("servers")
        assert shown == {"servers": [{"id": "alpha", "state": "stopped"}]}  # not even the total
        await eve.fine("server", server="alpha")
        await eve.refused("permission_denied", "server", server="beta")
        await eve.fine("server_start", server="beta")
        await eve.fine("servers_start", servers=["alpha", "beta"])
        await eve.refused("permission_denied", "servers_start", servers=["alpha", "gamma"])
        await eve.refused("permission_denied", "servers_start", servers=[])  # that would be all
        await eve.refused("permission_denied", "servers_start")
        assert world.done == [("start", "beta"), ("start", "alpha"), ("start", "beta")]
        await eve.fine("server_start", server="alpha")
        await eve.event("server.started", server="alpha", pid=7)
        assert not any(each["parameters"].get("server") == "beta" for each in eve.events)
        rows = (await eve.fine("list_actions"))["actions"]
        assert (rows["server_start"]["allowed"], rows["users"]["allowed"]) == (True, False)


async def test_rights_that_are_taken_away_end_at_once(running: Agent, root: Client) -> None:
    await role(root, "ops", ["server.*"])
    await root.fine("user_create", username="eve", password=PASSWORD, roles=["ops"])
    async with running.client("eve", PASSWORD) as eve:
        subscribed = await eve.fine("subscribe", topic="console", server="alpha")
        await eve.fine("server", server="alpha")
        await root.fine("role_update", role="ops", changes={"permissions": ["server.start"]})
        await eve.refused("permission_denied", "server", server="alpha")
        await eve.event("stream.ended", subscription=subscribed["subscription"], error="permission_denied")


async def matrix(client: Client, rows: dict[str, Any]) -> dict[str, str]:
    """What each action says to somebody who sends nothing with it."""
    found = {}
    for name in rows:
        reply = await client.ask(name)
        found[name] = "ok" if reply["status"] == "ok" else reply["parameters"]["error"]
    return found


async def test_each_action_for_each_role(running: Agent, root: Client) -> None:
    """Every action for every area: who lacks its permission is refused before anything else, who has it never is."""
    rows = (await root.fine("list_actions"))["actions"]
    skip = {"slow_change", "slow_look", "servers_start"}  # they would wait, or start everything
    rows = {name: row for name, row in rows.items() if name not in skip}
    areas = sorted({row["permission"].split(".")[0] for row in rows.values() if row["permission"]})
    assert areas == ["agent", "audit", "ban", "role", "server", "session", "user"]
    for area in [*areas, "default", "root"]:
        permissions = {"default": [], "root": ["*"]}.get(area, [f"{area}.*"])
        await role(root, f"r_{area}", permissions)
        await root.fine("user_create", username=area + "_user", password=PASSWORD, roles=[f"r_{area}"])
        async with running.client(area + "_user", PASSWORD) as client:
            listed = (await client.fine("list_actions"))["actions"]
            for name, outcome in (await matrix(client, rows)).items():
                needed = rows[name]["permission"]
                may = needed is None or needed == "agent.info" or area in ("root", needed.split(".")[0])
                assert listed[name]["allowed"] is may, (area, name)
                assert (outcome == "permission_denied") is not may, (area, name, outcome)
                assert outcome != "internal", name
        running.clock.advance(1)

"""Whatever a client asks with whatever parameters: one reply, no traceback (spec 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faces.architect.offered import World
from tests.faces.architect.serving import Agent, Client, agent


@pytest.fixture
async def fuzzed(tmp_path: Path) -> AsyncIterator[tuple[Agent, Client]]:
    async with agent(tmp_path, tls=False, offers=World().offers()) as running, running.client() as client:
        yield running, client


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ACTIONS = [
    "ping", "whoami", "events", "audit_log", "user_create", "role_create", "role_update", "subscribe",
    "agent_config_set", "server_start", "system_metrics", "user", "ban_remove", "session_close", "unsubscribe",
    "nonsense",
]  # fmt: skip
NAMES = ["username", "password", "roles", "role", "permissions", "servers", "changes", "server", "since", "limit",
         "names", "topic", "settings", "payload", "until", "cursor", "address", "session", "subscription"]  # fmt: skip


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), anything)),
        min_size=1,
        max_size=6,
    )
)
async def test_whatever_is_asked_gets_its_reply(
    fuzzed: tuple[Agent, Client], asked: list[tuple[str, dict[str, Any]]]
) -> None:
    running, client = fuzzed
    running.clock.advance(1)
    replies = await asyncio.gather(*(client.ask(action, **parameters) for action, parameters in asked))
    for (action, _), reply in zip(asked, replies, strict=True):
        assert reply["action"] == action
        assert reply["status"] in ("ok", "error")
        assert isinstance(reply["parameters"], dict)
        assert reply["parameters"].get("error") != "internal", reply

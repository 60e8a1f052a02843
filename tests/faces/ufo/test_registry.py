"""Who is connected, in which order, and what may wait for whom."""

from __future__ import annotations

import asyncio

import pytest

from tests.faces.ufo.aip_stage import Mute, client_on, soon
from treadle.faces.ufo import registry as module
from treadle.faces.ufo.frames import ServerFrame
from treadle.faces.ufo.registry import Connection, Registry

PING = ServerFrame(type="heartbeat", status="ok")


def test_clients_are_seen_in_the_order_in_which_they_came_and_not_before_they_are_shown() -> None:
    registry = Registry()
    first, second, other = client_on(Mute(), "b"), client_on(Mute(), "a"), client_on(Mute(), "k", role="constellation")
    for client in (first, second, other):
        registry.take(client)
    assert registry.online() == []
    assert registry.taken("a")
    assert registry.get("a") is None
    assert registry.role("a") is None
    assert registry.holder("a") is second
    for client in (other, first, second):
        registry.show(client)
    assert registry.online() == ["k", "b", "a"]
    assert [registry.role(id) for id in ("b", "k", "nobody")] == ["device", "constellation", None]
    registry.leave(first)
    assert registry.online() == ["k", "a"]
    assert not registry.taken("b")


def test_who_leaves_is_told_of_once_and_only_if_it_was_seen() -> None:
    registry, left = Registry(), list[Connection]()
    registry.on_left = left.append
    seen, unseen = client_on(Mute(), "a"), client_on(Mute(), "b")
    for client in (seen, unseen):
        registry.take(client)
    registry.show(seen)
    for _ in range(2):
        registry.leave(seen)
        registry.leave(unseen)
    assert left == [seen]
    assert seen.gone


def test_a_leaving_does_not_take_the_next_holder_of_the_id_along() -> None:
    registry = Registry()
    before, after = client_on(Mute(), "a"), client_on(Mute(), "a")
    registry.take(before)
    registry.show(before)
    registry.leave(before)
    registry.take(after)
    registry.show(after)
    registry.leave(before)
    assert registry.get("a") is after


async def test_frames_go_out_in_order_and_nothing_is_left_behind() -> None:
    wire = Mute()
    client = client_on(wire)
    for n in range(100):
        client.send(ServerFrame(type="heartbeat", status="ok", task_name=str(n)))
    await soon(lambda: len(wire.sent) == 100)
    assert [frame["task_name"] for frame in wire.sent] == [str(n) for n in range(100)]
    await soon(lambda: client._sending is None)
    assert client._outbox is None
    client.send(PING)
    await soon(lambda: len(wire.sent) == 101)


async def test_who_lets_too_many_frames_wait_is_cut() -> None:
    wire = Mute()
    wire.open.clear()
    client = client_on(wire)
    client.send(PING)
    await soon(lambda: client._outbox == client._outbox.__class__())  # the first is on its way, and stays there
    for _ in range(module.OUTBOX_FRAMES):
        client.send(PING)
    assert not client.gone
    client.send(PING)
    assert client.gone
    await soon(lambda: wire.closed)
    assert wire.closed == (1008, "too slow to read")
    client.send(PING)  # nothing more
    assert wire.sent == []


async def test_who_lets_too_many_bytes_wait_is_cut_but_one_frame_of_any_size_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OUTBOX_BYTES", 100)
    wire = Mute()
    wire.open.clear()
    client = client_on(wire)
    big = ServerFrame(type="task_end", status="ok", result="x" * 1000)
    client.send(big)
    await soon(lambda: not client._outbox)
    client.send(big)
    assert not client.gone
    client.send(PING)
    assert client.gone


async def test_a_wire_that_breaks_makes_a_client_gone() -> None:
    wire = Mute()
    wire.closed = (1006, "")
    client = client_on(wire)
    client.send(PING)
    await soon(lambda: client.gone)
    assert wire.sent == []
    assert not await client.alive()


async def test_an_evicted_client_is_closed_and_gone_at_once() -> None:
    registry, left, wire = Registry(), list[Connection](), Mute()
    registry.on_left = left.append
    client = client_on(wire, "a")
    registry.take(client)
    registry.show(client)
    registry.evict(client, "another came")
    assert registry.online() == []
    assert left == [client]
    await soon(lambda: wire.closed)
    assert wire.closed == (1000, "another came")


async def test_an_idle_client_has_no_task_of_its_own() -> None:
    before = len(asyncio.all_tasks())
    clients = [client_on(Mute(), str(n)) for n in range(100)]
    for client in clients:
        client.send(PING)
    assert len(asyncio.all_tasks()) > before
    await soon(lambda: len(asyncio.all_tasks()) == before)

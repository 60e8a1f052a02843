"""The bus inside one process: a hint wakes whoever listens, is kept until they look, and reaches nobody else."""

from __future__ import annotations

import asyncio

from treadle.adapters.bus.local import LocalBus
from treadle.core.ports import Bus


async def test_a_hint_wakes_every_listener_of_its_topic() -> None:
    bus: Bus = LocalBus()
    with bus.listen("a") as first, bus.listen("a") as second, bus.listen("b") as other:
        waiting = [asyncio.create_task(listener.heard(5)) for listener in (first, second)]
        await asyncio.sleep(0)
        bus.publish("a")
        assert await asyncio.gather(*waiting) == [True, True]
        assert await other.heard(0) is False


async def test_a_hint_is_kept_until_the_next_look_and_counts_once() -> None:
    bus = LocalBus()
    with bus.listen("a") as listener:
        bus.publish("a")
        bus.publish("a")
        assert await listener.heard(0) is True
        assert await listener.heard(0) is False
        bus.publish("a")
        assert await listener.heard(5) is True


async def test_waiting_ends_after_the_time_given() -> None:
    bus = LocalBus()
    with bus.listen("a") as listener:
        assert await listener.heard(0.01) is False


async def test_a_hint_from_before_is_not_heard() -> None:
    bus = LocalBus()
    bus.publish("a")
    with bus.listen("a") as listener:
        assert await listener.heard(0) is False


async def test_who_stopped_listening_leaves_nothing_behind() -> None:
    bus = LocalBus()
    with bus.listen("a"):
        with bus.listen("a"):
            pass
        bus.publish("a")
    bus.publish("a")
    assert bus._listeners == {}

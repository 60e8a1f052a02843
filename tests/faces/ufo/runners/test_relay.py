"""Requests that a device carries out itself, and the echo that needs none."""

from __future__ import annotations

import asyncio

from tests.faces.ufo.runners.scripted import Device, OwnDevice, task
from treadle.faces.ufo.runners.echo import Echo
from treadle.faces.ufo.runners.relay import Relay
from treadle.faces.ufo.running import Outcome


async def test_the_outcome_is_the_devices_own() -> None:
    device = OwnDevice()
    assert await Relay().run(task("tidy up"), device) == device.outcome
    assert device.facts == [{"event": "relay", "to": "d1"}]
    assert device.calls == []


async def test_the_wait_ends_with_the_session() -> None:
    class Silent(OwnDevice):
        async def hand_over(self) -> Outcome:
            await asyncio.Event().wait()
            raise AssertionError

    outcome = await Relay().run(task("tidy up"), Silent(seconds=0.05))
    assert (outcome.ok, outcome.error) == (False, "the device did not end the task in the session's time")


async def test_a_session_that_cannot_hand_over_says_so() -> None:
    outcome = await Relay().run(task("tidy up"), Device())
    assert not outcome.ok


async def test_echo_gives_the_request_back() -> None:
    device = Device()
    assert (await Echo().run(task("hello"), device)).output == "hello"
    assert device.calls == []

"""Machines that join: their names, their presence, and who is missed."""

from __future__ import annotations

import pytest

from tests.core.stage import ANN, Stage
from treadle.core.clock import SECOND
from treadle.core.errors import Conflict, NotFound
from treadle.core.nodes import PRESENCE, Node


async def joined(stage: Stage, id: str, name: str = "loom") -> Node:
    return await stage.fabric.nodes.join(id, name, slots=2, version="1", inventory={"cpu": {"threads": 2}})


async def told(stage: Stage) -> list[str]:
    return [event.kind for event in await stage.fabric.events.after(0)]


async def test_a_node_that_joins_is_present_and_keeps_its_name_when_it_comes_again(stage: Stage) -> None:
    first = await joined(stage, "a")
    assert (first.name, first.state, first.until - first.seen) == ("loom", "present", PRESENCE)
    stage.clock.advance(5)
    again = await joined(stage, "a", "renamed")
    assert (again.name, again.joined, again.seen) == ("loom", first.joined, first.seen + 5 * SECOND)


async def test_a_name_that_another_node_has_gets_a_number(stage: Stage) -> None:
    names = [(await joined(stage, id)).name for id in "abc"]
    assert names == ["loom", "loom-2", "loom-3"]
    assert (await stage.fabric.nodes.get("loom-2")).id == "b"


async def test_a_node_that_is_silent_for_too_long_is_absent_and_one_fact_says_so(stage: Stage) -> None:
    await joined(stage, "a")
    await joined(stage, "b")
    stage.clock.advance(PRESENCE / SECOND - 1)
    await stage.fabric.nodes.beat("b", busy=1, load={"cpu_percent": 3.0})
    stage.clock.advance(2)
    await stage.fabric.nodes.notice()
    await stage.fabric.nodes.notice()
    assert [(node.id, node.state) for node in await stage.fabric.nodes.all()] == [("a", "absent"), ("b", "present")]
    assert (await told(stage)).count("node.lost") == 1


async def test_a_beat_after_an_absence_says_that_it_is_there_again(stage: Stage) -> None:
    await joined(stage, "a")
    stage.clock.advance(PRESENCE / SECOND + 1)
    await stage.fabric.nodes.notice()
    node = await stage.fabric.nodes.beat("a", busy=0, load={})
    assert node.state == "present"
    assert await told(stage) == ["node.joined", "node.lost", "node.joined"]


async def test_only_an_absent_node_is_removed_and_its_beat_is_refused_then(stage: Stage) -> None:
    await joined(stage, "a")
    with pytest.raises(Conflict, match="is present"):
        await stage.fabric.nodes.remove("loom", ANN)
    await stage.fabric.nodes.leave("a")
    await stage.fabric.nodes.remove("loom", ANN)
    with pytest.raises(NotFound):
        await stage.fabric.nodes.beat("a", busy=0, load={})
    assert await told(stage) == ["node.joined", "node.left", "node.removed"]


async def test_the_duties_notice_who_is_gone(stage: Stage) -> None:
    await joined(stage, "a")
    stage.clock.advance(PRESENCE / SECOND + 1)
    await stage.fabric.duties.tick()
    assert (await stage.fabric.nodes.get("a")).state == "absent"

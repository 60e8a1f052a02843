"""What tasks print, as the verbs have it: who may write, and one stream of what is stored and what still comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.core.stage import ANN, Stage
from treadle.adapters.output.disk import DiskOutputs
from treadle.core.errors import LeaseLost, NotFound
from treadle.core.leases import Claim, Finish
from treadle.core.output import Extent, Output
from treadle.core.tasks import Hold, Result, Task


@pytest.fixture
async def outputs(stage: Stage, tmp_path: Path) -> AsyncIterator[DiskOutputs]:
    outputs = DiskOutputs(tmp_path / "output", clock=stage.clock)
    stage.fabric.output = Output(stage.store, stage.fabric.bus, stage.clock, outputs)
    yield outputs
    await outputs.close()


async def claimed(stage: Stage) -> Task:
    project = await stage.project()
    await stage.submit(project)
    (task,) = await stage.fabric.tasks.claim(Claim(project=project.id, worker="w"))
    return task


async def end(stage: Stage, task: Task) -> None:
    await stage.fabric.tasks.finish(Finish(task=task.id, by=Hold(fence=task.fence), result=Result(ok=True)))


async def text(stage: Stage, task: Task, after: int = 0) -> bytes:
    return b"".join([chunk.data async for chunk in stage.fabric.output.follow(task.id, after)])


async def test_only_the_holder_of_the_lease_writes(stage: Stage, outputs: DiskOutputs) -> None:
    task = await claimed(stage)
    assert await stage.fabric.output.write(task.id, task.fence, 0, [("stdout", b"hi")]) == 2
    with pytest.raises(LeaseLost):
        await stage.fabric.output.write(task.id, task.fence + 1, 0, [("stdout", b"no")])
    with pytest.raises(NotFound):
        await stage.fabric.output.write("nothing", 1, 0, [("stdout", b"no")])
    await end(stage, task)
    with pytest.raises(LeaseLost):
        await stage.fabric.output.write(task.id, task.fence, 2, [("stdout", b"late")])
    assert await stage.fabric.output.extent(task.id) == Extent(0, 2)


async def test_a_follower_sees_the_past_the_tail_and_the_end(stage: Stage, outputs: DiskOutputs) -> None:
    task = await claimed(stage)
    write = stage.fabric.output.write
    await write(task.id, task.fence, 0, [("stdout", b"one\n")])
    stream = stage.fabric.output.follow(task.id, 0)
    assert (await anext(stream)).data == b"one\n"
    coming = asyncio.ensure_future(anext(stream))
    await write(task.id, task.fence, 4, [("stderr", b"two\n")])
    chunk = await coming
    assert (chunk.at, chunk.stream, chunk.data, chunk.end) == (4, "stderr", b"two\n", 8)
    ending = asyncio.ensure_future(anext(stream, None))
    await end(stage, task)
    assert await asyncio.wait_for(ending, 0.9) is None  # told at once, not at the next poll


@pytest.mark.parametrize(("after", "seen"), [(0, b"abcdef"), (4, b"ef"), (6, b""), (-2, b"ef"), (-99, b"abcdef")])
async def test_a_stream_begins_anywhere(stage: Stage, outputs: DiskOutputs, after: int, seen: bytes) -> None:
    task = await claimed(stage)
    await stage.fabric.output.write(task.id, task.fence, 0, [("stdout", b"abcdef")])
    await end(stage, task)
    assert await text(stage, task, after) == seen


async def test_what_a_deleted_task_printed_goes_with_it(stage: Stage, outputs: DiskOutputs) -> None:
    task = await claimed(stage)
    await stage.fabric.output.write(task.id, task.fence, 0, [("stdout", b"abc")])
    await end(stage, task)
    stage.fabric.output.learn((await stage.fabric.events.after(0))[-1])
    await stage.fabric.tasks.delete(task.id, ANN)
    stage.fabric.output.learn((await stage.fabric.events.after(0))[-1])
    await asyncio.gather(*stage.fabric.output._dropping)
    assert await outputs.extent(task.id) == Extent(0, 0)

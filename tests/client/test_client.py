"""Every verb of the client against a real server, and what it does when the network is bad."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.client.cutting import relay
from tests.faces.fabric.serving import KEY, VERSION, Served, served
from treadle.client import (
    Client,
    Denied,
    Duplicate,
    Ended,
    Held,
    Invalid,
    LeaseLost,
    NewTask,
    NotFound,
    ProjectClosed,
    Standing,
    SyncClient,
    Task,
    Unauthenticated,
    Unreachable,
    Unreadable,
    WrongState,
)


async def test_projects(client: Client) -> None:
    made = await client.create_project("looms", description="all", lease=2.5, max_retries=1)
    assert (made.policy.lease, made.policy.max_retries, made.policy.sweep_every) == (2.5, 1, 60.0)
    assert made.created.tzinfo is not None
    changed = await client.change_project("looms", state="closed", sweep_every=9)
    assert (changed.state, changed.policy.lease, changed.policy.sweep_every) == ("closed", 2.5, 9.0)
    assert changed in await client.projects("closed")
    with pytest.raises(ProjectClosed):
        await client.submit("looms", NewTask())
    with pytest.raises(Duplicate):
        await client.create_project("looms")
    assert (await client.stats("looms")).tally.total == 0
    await client.delete_project(made.id)
    with pytest.raises(NotFound, match="Project looms not found"):
        await client.project("looms")


async def test_types(client: Client, project: str) -> None:
    made = await client.create_type(project, "greet", template="Greet {{who}}", lease=5)
    assert await client.type(project, "greet") == made == (await client.types(project))[0]
    assert (await client.change_type(project, "greet", duplicates="fail", template=None)).variables == []
    await client.delete_type(project, "greet")
    assert await client.types(project) == []


async def test_tasks(client: Client, project: str) -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    task, late = await client.submit(
        project, NewTask(instructions="a", variables={"x": [1]}), NewTask(not_before=later)
    )
    assert (late.not_before, task.variables) == (later, {"x": [1]})
    assert (await client.tasks(project, state="queued")).total == 2
    assert (await client.tasks(project, state=["running", "failed"])).tasks == []
    assert (await client.edit(task.id, instructions=None)).instructions is None
    assert (await client.cancel(task.id, "no")).state == "cancelled"
    assert (await client.requeue(task.id)).state == "queued"
    await client.delete(task.id)
    with pytest.raises(NotFound):
        await client.task(task.id)


async def test_some_tasks_of_many(client: Client, project: str) -> None:
    await client.create_type(project, "t", template="{{a}}")
    good, bad = await client.submit_each(project, NewTask(), NewTask(type="t"))
    assert isinstance(good, Task)
    assert isinstance(bad, Invalid)
    with pytest.raises(Invalid) as refused:
        await client.submit(project, NewTask(), NewTask(type="t"))
    assert [fault.field for fault in refused.value.faults] == ["tasks.1.variables"]


async def test_leases(client: Client, project: str) -> None:
    await client.submit(project, *(NewTask(variables={"n": n}) for n in range(4)))
    one, two, three, four = await client.claim(project, "w", 4, lease=60)
    assert one.lease_seconds == 60
    assert [type(each) for each in await client.extend([one, Held(two.id, 9)], 90)] == [Standing, LeaseLost]
    outcomes = await client.finish(one.done({"a": 1}), two.failed("bad", retry=False), three.failed("again"))
    assert [each.state for each in outcomes if isinstance(each, Standing)] == ["succeeded", "failed", "queued"]
    assert [each.state for each in await client.release([four]) if isinstance(each, Standing)] == ["queued"]
    result = (await client.ended(one.id)).result
    assert result is not None
    assert result.output == {"a": 1}
    assert (await client.sweep(project)).tasks == []


async def test_a_caller_waits_for_the_end(client: Client, project: str) -> None:
    [task] = await client.submit(project, NewTask())
    assert (await client.ended(task.id, within=0.01)).state == "queued"
    waiting = asyncio.create_task(client.ended(task.id))
    [claimed] = await client.claim(project, "w", wait=5)
    await client.finish(claimed.done())
    assert (await waiting).state == "succeeded"


async def test_facts(client: Client, project: str) -> None:
    start = (await client.events()).cursor
    [task] = await client.submit(project, NewTask())
    page = await client.events(start, project=project)
    assert [event.kind for event in page.events] == ["task.submitted"]
    kinds = []
    async for event in client.follow(start, project=project):
        kinds.append(event.kind)
        if event.kind == "task.submitted":
            await client.cancel(task.id)
        else:
            break
    assert kinds == ["task.submitted", "task.cancelled"]


async def test_what_runs_there(client: Client, server: Served) -> None:
    about = await client.about()
    assert (about.version, about.listeners) == (VERSION, {"fabric": server.url})


async def test_names_are_one_segment_of_an_address(client: Client) -> None:
    with pytest.raises(NotFound, match=r"Project a/b\?c#d not found"):
        await client.project("a/b?c#d")


async def test_refusals_are_typed(server: Served, project: str) -> None:
    async with Client(server.url, "wrong") as stranger:
        with pytest.raises(Unauthenticated) as refused:
            await stranger.projects()
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")
    async with Client(server.url) as anonymous:
        [task] = await anonymous.submit(project, NewTask())
        assert task.submitter == "anonymous@fabric"
        with pytest.raises(WrongState):
            await anonymous.requeue(task.id)
    assert issubclass(Denied, Exception)


async def test_what_is_no_treadle_server_is_said_so() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        host, port = other.sockets[0].getsockname()
        async with Client(f"http://{host}:{port}", patience=0) as client:
            with pytest.raises(Unreadable):
                await client.projects()


async def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    with served(tmp_path) as gone:
        url = gone.url
    async with Client(url, patience=0) as client:
        with pytest.raises(Unreachable) as refused:
            await client.projects()
        assert refused.value.sent is False


async def test_a_lost_answer_makes_nothing_twice(server: Served, project: str) -> None:
    async with relay(server.url) as between, Client(between.url, KEY) as client:
        between.cut = 2
        tasks = await client.submit(project, NewTask(), NewTask())
        assert between.cut == 0
        assert (await client.tasks(project)).total == 2
        claimed = await client.claim(project, "w", 2)
        assert {task.id for task in claimed} == {task.id for task in tasks}
        between.cut = 1
        outcomes = await client.finish(claimed[0].done(1), claimed[1].failed("no"))
        assert [each.state for each in outcomes if isinstance(each, Standing)] == ["succeeded", "queued"]
        assert (await client.task(claimed[1].id)).retries == 1
        stranger = await client.finish(Ended(id=claimed[0].id, fence=claimed[0].fence, ok=False, error="other"))
        assert isinstance(stranger[0], WrongState)


async def test_a_claim_whose_answer_may_be_lost_is_not_repeated(server: Served, project: str) -> None:
    async with relay(server.url) as between, Client(between.url, KEY) as client:
        await client.submit(project, NewTask(), NewTask())
        between.cut = 1
        with pytest.raises(Unreachable) as lost:
            await client.claim(project, "w")
        assert lost.value.sent is True
        assert (await client.tasks(project, state="running")).total == 1


async def test_facts_go_on_behind_the_last_one_seen(server: Served, project: str) -> None:
    async with relay(server.url) as between, Client(between.url, KEY) as client, Client(server.url, KEY) as other:
        seen = []
        start = (await client.events()).cursor
        await other.submit(project, *(NewTask(priority=n) for n in range(3)))
        async for event in client.follow(start, project=project):
            seen.append(event.cursor)
            if len(seen) == 3:
                between.cut = 1
                await other.submit(project, *(NewTask(priority=n) for n in range(3)))
            if len(seen) == 6:
                break
        assert len(set(seen)) == 6
        assert seen == sorted(seen)
        assert between.cut == 0


async def test_a_restarted_server_is_found_again_at_its_new_address(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        first.announce()
        async with Client(home=tmp_path, patience=0) as client:
            assert (await client.about()).listeners["fabric"] == first.url
            first.stop()
            with served(tmp_path) as second:
                second.announce()
                with pytest.raises(Unreachable):
                    await client.about()
                assert (await client.about()).listeners["fabric"] == second.url


async def test_a_patient_client_outlasts_a_restart(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        port, url = first.port, first.url
    async with Client(url, patience=20) as client:
        asking = asyncio.create_task(client.projects())
        with served(tmp_path, port):
            assert await asking == []


def test_the_synchronous_door_has_every_verb() -> None:
    plumbing = {"close", "finish_encoded"}
    verbs = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")} - plumbing
    assert verbs <= set(vars(SyncClient))
    assert all(vars(SyncClient)[verb].__doc__ == getattr(Client, verb).__doc__ for verb in verbs)


def test_the_synchronous_door(server: Served) -> None:
    with SyncClient(server.url, KEY) as client:
        client.create_project("sync")
        start = client.events().cursor
        [task] = client.submit("sync", NewTask(instructions="x"))
        [claimed] = client.claim("sync", "w")
        client.finish(claimed.done("y"))
        assert client.ended(task.id).result == client.task(task.id).result
        following = client.follow(start, project="sync")
        assert [next(following).kind for _ in range(3)] == ["task.submitted", "task.claimed", "task.succeeded"]
        following.close()  # type: ignore[attr-defined]
        with pytest.raises(NotFound):
            client.project("nope")
    client.close()

"""What workers say over the native API: many tasks in a request, each with its own outcome."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from tests.faces.fabric.conftest import Api, held
from tests.faces.fabric.serving import Served
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim


def test_tasks_are_claimed_kept_and_handed_in_together(api: Api, project: str) -> None:
    api.submit(project, *({"variables": {"n": n}} for n in range(5)))
    tasks = api.claim(project, 4, worker="ann", lease=60)
    assert [task["variables"]["n"] for task in tasks] == [0, 1, 2, 3]
    for task in tasks:
        assert (task["state"], task["worker"], task["fence"]) == ("running", "ann", 1)
        assert lease(task) == timedelta(seconds=60)
    for result in api.word("extend", *map(held, tasks), seconds=3600):
        assert lease({**tasks[0], **result["task"]}) > timedelta(seconds=3599)
    good, bad, again, _ = tasks
    results = api.word(
        "finish",
        held(good, output={"a": 1}, outputs={"log": "fine"}),
        held(bad, ok=False, error="no such file", retry=False, outputs={"exit_code": 3}),
        held(again, ok=False, error="try later"),
    )
    assert [result["task"]["state"] for result in results] == ["succeeded", "failed", "queued"]
    shown = [api.get(f"/api/queue/tasks/{task['id']}") for task in tasks]
    assert shown[0]["result"] == {
        "ok": True, "output": {"a": 1}, "error": None, "outputs": {"log": "fine"}, "retry": None, "reason": "reported",
    }  # fmt: skip
    assert (shown[1]["result"]["error"], shown[1]["result"]["outputs"]) == ("no such file", {"exit_code": 3})
    assert (shown[2]["retries"], shown[2]["attempts"][0]["result"]["error"]) == (1, "try later")
    assert shown[3]["state"] == "running"


def test_one_lost_lease_sinks_no_other(api: Api, project: str) -> None:
    api.submit(project, {}, {}, {})
    first, second, third = api.claim(project, 3)
    api.post(f"/api/queue/tasks/{third['id']}/cancel")
    for verb, more in (("extend", {"seconds": 9}), ("release", {}), ("finish", {})):
        results = api.word(
            verb, held(first), {"id": second["id"], "fence": 7}, held(third), {"id": "nope", "fence": 1}, **more
        )
        codes = [result["error"]["code"] if "error" in result else "" for result in results]
        assert codes[1:] == ["lease_lost", "wrong_state", "not_found"], verb
        if verb == "finish":
            assert codes[0] == "wrong_state"  # it was released before
        else:
            assert codes[0] == ""


def test_a_released_task_comes_back_with_another_fence(api: Api, project: str) -> None:
    api.submit(project, {})
    [task] = api.claim(project)
    assert api.word("release", held(task))[0]["task"]["state"] == "queued"
    [again] = api.claim(project, worker="w2")
    assert (again["id"], again["fence"], again["retries"]) == (task["id"], 2, 0)


def test_a_lease_that_ran_out_is_swept_and_fenced(api: Api, project: str) -> None:
    api.submit(project, {})
    [task] = api.claim(project, lease=0.001)
    swept: list[str] = []
    while not swept:  # a thousandth of a second, however fast this machine is
        swept = api.post("/api/queue/sweep", {"project": project})["tasks"]
    assert swept == [task["id"]]
    assert api.word("finish", held(task))[0]["error"]["code"] == "wrong_state"
    [again] = api.claim(project)
    assert (again["retries"], again["fence"]) == (1, 2)
    assert api.word("finish", held(task))[0]["error"]["code"] == "lease_lost"


def test_a_worker_resumes_what_it_holds(api: Api, project: str) -> None:
    api.submit(project, {}, {})
    [task] = api.claim(project)
    [same] = api.claim(project, resume=True)
    assert same["id"] == task["id"]


def test_a_claim_waits_for_work(api: Api, project: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(api.claim, project, 5, wait=20)
        [task] = api.submit(project, {})
        assert [each["id"] for each in waiting.result()] == [task["id"]]
    assert api.claim(project, wait=0.01) == []


def test_a_claim_whose_caller_has_left_takes_nothing(api: Api, project: str, server: Served) -> None:
    body = msgspec.json.encode({"project": project, "worker": "gone", "wait": 60})
    listening = listeners(server)
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as leaver:
        lines = ("POST /api/queue/claim HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", "", "")
        leaver.sendall("\r\n".join(lines).encode() + body)
        while listeners(server) == listening:
            pass
    while listeners(server) > listening:
        pass
    api.submit(project, {})
    [task] = api.claim(project, worker="here")
    assert (task["worker"], task["fence"]) == ("here", 1)


def test_a_cancelled_claim_gives_back_what_it_took(api: Api, project: str, server: Served) -> None:
    """The core's promise on which the test before rests, at its narrowest: cancelled while the store commits."""
    [task] = api.submit(project, {})

    async def cancelled(fabric: Fabric) -> None:
        claiming = asyncio.create_task(fabric.tasks.claim(Claim(project=project, worker="gone")))
        await asyncio.sleep(0)  # it is asked
        await asyncio.sleep(0)  # it is on its way to the store
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        assert claiming.cancelled()

    server.do(cancelled)
    [again] = api.claim(project, worker="here", wait=10)
    assert (again["id"], again["worker"]) == (task["id"], "here")


def test_a_hundred_tasks_cost_two_commits(api: Api, project: str, server: Served) -> None:
    api.submit(project, *({} for _ in range(100)))
    commits: list[int] = []
    told = server.fabric.store.on_commit
    assert told is not None
    server.fabric.store.on_commit = lambda facts: (commits.append(len(facts)), told(facts))[-1]
    try:
        tasks = api.claim(project, 100)
        api.word("finish", *map(held, tasks))
    finally:
        server.fabric.store.on_commit = told
    assert commits == [100, 100]


def lease(task: dict[str, str]) -> timedelta:
    return datetime.fromisoformat(task["lease_until"]) - datetime.fromisoformat(task["assigned"])


def listeners(server: Served) -> int:
    """How many wait for work."""
    bus = server.fabric.bus
    return sum(len(each) for topic, each in list(bus._listeners.items()) if topic.startswith("queue."))  # type: ignore[attr-defined]

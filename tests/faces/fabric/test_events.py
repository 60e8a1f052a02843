"""The log of facts over the native API: pages, and a stream with one cursor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2

from tests.faces.fabric.conftest import Api, held


def blocks(answer: httpx2.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, as their fields."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and fields:
            yield fields
            fields = {}


def stream(api: Api, after: int | None = None, project: str | None = None, **headers: str) -> Any:
    query = {name: value for name, value in {"after": after, "project": project}.items() if value is not None}
    return api.http.stream("GET", "/api/queue/events", params=query, headers={"accept": "text/event-stream", **headers})


def test_pages_from_a_cursor(api: Api, project: str) -> None:
    [task] = api.submit(project, {})
    [running] = api.claim(project)
    api.word("finish", held(running))
    seen, cursor = [], 0
    while True:
        page = api.get("/api/queue/events", project=project, after=cursor, limit=2)
        if not page["events"]:
            break
        seen += page["events"]
        cursor = page["cursor"]
    assert [event["kind"] for event in seen] == ["project.created", "task.submitted", "task.claimed", "task.succeeded"]
    assert {event["subject"] for event in seen[1:]} == {task["id"]}
    assert seen[2]["data"] == {"worker": "w1", "fence": 1}
    assert [event["cursor"] for event in seen] == sorted(event["cursor"] for event in seen)
    assert api.get("/api/queue/events")["cursor"] >= cursor


def test_the_page_of_a_quiet_project_moves_on(api: Api, project: str) -> None:
    api.post("/api/queue/projects", {"name": f"{project}-noise"}, 201)
    page = api.get("/api/queue/events", project=project, after=0)
    assert page["cursor"] > page["events"][-1]["cursor"]


def test_a_stream_goes_on_from_where_it_was_cut(api: Api, project: str) -> None:
    with stream(api, project=project) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        coming = blocks(answer)
        start = next(coming)
        assert set(start) == {"id"}
        [task] = api.submit(project, {})
        first = next(coming)
        event = json.loads(first["data"])
        assert (event["kind"], event["subject"]) == ("task.submitted", task["id"])
        assert first["id"] == str(event["cursor"])
    [running] = api.claim(project)
    with stream(api, project=project, **{"last-event-id": first["id"]}) as answer:
        coming = blocks(answer)
        assert next(coming) == {"id": first["id"]}
        assert json.loads(next(coming)["data"])["kind"] == "task.claimed"
        api.word("release", held(running))
        assert json.loads(next(coming)["data"])["kind"] == "task.released"
    with stream(api, int(start["id"]), project) as answer:
        coming = blocks(answer)
        next(coming)
        kinds = [json.loads(next(coming)["data"])["kind"] for _ in range(3)]
        assert kinds == ["task.submitted", "task.claimed", "task.released"]


def test_a_cursor_of_another_log_is_refused(api: Api) -> None:
    assert api.get("/api/queue/events", 400, after=10**12)["faults"][0]["field"] == "after"
    for header in ("abc", "-1", "1" * 30):
        with stream(api, **{"last-event-id": header}) as answer:
            assert answer.status_code == 400
            answer.read()
            assert answer.json()["faults"][0]["field"] == "Last-Event-ID"

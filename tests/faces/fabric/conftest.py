"""One server for all tests of the fabric face, each with a project of its own, asked over plain HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.faces.fabric.serving import Served, served


class Api:
    """Raw requests; each asserts the status it expects and gives the decoded answer."""

    def __init__(self, url: str, **headers: str) -> None:
        self.http = httpx2.Client(base_url=url, headers=headers, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        answer = self.http.request(method, path, json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        return self.ask("GET", path, status=status, params=query)

    def post(self, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        return self.ask("POST", path, body, status, **more)

    def submit(self, project: str, *tasks: dict[str, Any]) -> list[Any]:
        results = self.post("/api/queue/submit", {"project": project, "tasks": list(tasks)})["results"]
        return [result["task"] for result in results]

    def claim(self, project: str, count: int = 1, worker: str = "w1", **more: Any) -> list[Any]:
        body = {"project": project, "worker": worker, "count": count, **more}
        tasks: list[Any] = self.post("/api/queue/claim", body)["tasks"]
        return tasks

    def word(self, verb: str, *items: dict[str, Any], **more: Any) -> list[Any]:
        results: list[Any] = self.post(f"/api/queue/{verb}", {"tasks": list(items), **more})["results"]
        return results


def held(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a holder shows, and more."""
    return {"id": task["id"], "fence": task["fence"], **more}


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fabric")) as running:
        yield running


@pytest.fixture
def api(server: Served) -> Iterator[Api]:
    api = Api(server.url)
    with api.http:
        yield api


_numbers = itertools.count(1)


@pytest.fixture
def project(api: Api) -> str:
    """The name of a new project."""
    name = f"p{next(_numbers)}"
    api.post("/api/queue/projects", {"name": name}, 201)
    return name

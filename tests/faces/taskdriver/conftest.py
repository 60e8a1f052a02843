"""One server for each module, one project and session for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faces.taskdriver.serving import ROOT, Api, Server, served
from treadle.core.ids import new_id


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("taskdriver")) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Api:
    """A session of agent w1 in a project of its own."""
    name = f"p-{new_id()}"
    server.do(lambda fabric: fabric.projects.create(name, ROOT))
    return Api(server, "w1", name)

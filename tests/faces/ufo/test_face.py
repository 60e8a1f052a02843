"""The face as a whole: its document, its page, its errors, and the socket that it shares with the Console."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faces.ufo.serving import SECONDS, Server, served, until
from tests.web.wire import listening
from treadle.core import errors as core
from treadle.core.access import PUBLIC, Principal
from treadle.faces.ufo import make
from treadle.faces.ufo.errors import ERRORS, spell, status_of
from treadle.faces.ufo.options import Options
from treadle.faces.ufo.runners.options import RunnerOptions
from treadle.web import refusals
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.call import Call, Reply, json_reply
from treadle.web.join import clashes
from treadle.web.listen import Address, Face
from treadle.web.log import Log
from treadle.web.routes import Route


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("ufo")) as running:
        yield running


class TestDocument:
    def test_it_tells_every_route(self, server: Server) -> None:
        document = server.http.get("/openapi.json").json()
        assert document["info"]["version"] == "1.2.3"
        assert set(document["paths"]) == {
            "/api/dispatch", "/api/clients", "/api/task_result/{task_name}", "/api/tasks/{session_id}/events",
            "/api/health", "/ws",
        }  # fmt: skip
        assert document["paths"]["/ws"]["x-websocket"]["messageLimit"] == 100 * 2**20

    def test_it_tells_what_a_dispatch_reads(self, server: Server) -> None:
        document = server.http.get("/openapi.json").json()
        body = document["paths"]["/api/dispatch"]["post"]["requestBody"]
        assert body["required"] is True
        [schema] = [content["schema"] for content in body["content"].values()]
        shape = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert shape["required"] == ["request", "client_id"]
        assert set(shape["properties"]) == {"request", "client_id", "task_name", "when_online", "ttl"}

    def test_the_page(self, server: Server) -> None:
        page = server.http.get("/docs")
        assert page.status_code == 200
        assert "UFO" in page.text


class TestErrors:
    def test_every_error_of_the_core_has_a_status(self) -> None:
        known = [kind for kind in vars(core).values() if isinstance(kind, type) and issubclass(kind, core.FabricError)]
        assert {kind for kind in known if kind not in ERRORS} == set()
        assert {kind for kind in refusals.Refusal.__args__ if kind not in ERRORS} == set()

    def test_an_error_of_ours_tells_nothing_of_itself(self) -> None:
        reply = spell(RuntimeError("secret"), call())
        assert (reply.status, b"secret" in reply.body) == (500, False)
        assert list(json.loads(reply.body)) == ["detail"]

    def test_a_stores_error_names_no_path(self) -> None:
        reply = spell(core.StoreUnavailable("/home/somebody/treadle.db is gone"), call())
        assert (reply.status, b"somebody" in reply.body) == (503, False)

    def test_a_subclass_has_its_parents_status(self) -> None:
        class Own(core.WrongState):
            """One more."""

        assert status_of(Own()) == 409

    def test_settings_that_contradict_themselves(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="llm"), served(tmp_path, runners=RunnerOptions(default="llm")):
            pass


class TestStop:
    def test_who_waits_is_told_to_come_again(self, tmp_path: Path) -> None:
        answers: list[httpx2.Response] = []
        with served(tmp_path) as running:
            asking = threading.Thread(target=lambda: answers.append(running.http.get("/api/task_result/x?wait=60")))
            asking.start()
            until(lambda: running.answering == 1, "the request")
            running.stop()
            asking.join(SECONDS)
        assert [answer.status_code for answer in answers] == [503]
        assert list(answers[0].json()) == ["detail"]


class TestBesideTheConsole:
    async def test_the_health_has_the_keys_of_both(self, server: Server) -> None:
        async def other_health(_: Call) -> Reply:
            return json_reply({"status": "fine", "csrf_required": True, "active_sessions": 0})

        async def nobody(_: Call) -> Any:
            raise core.Unauthenticated

        route = Route(method="GET", path="/api/health", handler=other_health, scope=PUBLIC, summary="Health")
        other = App(
            name="console", routes=[route], spell=spell, authenticate=nobody, admission=Admission(),
            log=Log(lambda _: None),
        )  # fmt: skip
        assert clashes(server.app, other) == []
        with_port = Address("127.0.0.1", free_port())
        ours = on_this_loop(server)
        async with (
            listening(Face("ufo", ours, with_port), Face("console", other, with_port)),
            httpx2.AsyncClient(base_url=f"http://{with_port}", trust_env=False) as http,
        ):
            told = (await http.get("/api/health")).json()
            assert told == {"status": "healthy", "online_clients": [], "csrf_required": True, "active_sessions": 0}
            unknown = await http.get("/nothing")
            assert (unknown.status_code, unknown.json()["detail"]) == (404, "Not Found")
            assert (await http.get("/api/clients")).json() == {"online_clients": []}
            wrong = await http.put("/api/dispatch")
            assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def on_this_loop(server: Server) -> App:
    """One more face of the same fabric."""
    return make(server.fabric, Options(version="1"), Log(lambda _: None))


def call() -> Call:
    async def receive() -> Any:
        raise NotImplementedError

    scope = {
        "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "scheme": "http",
        "client": None,
    }  # fmt: skip
    return Call(scope, receive, nobody=Principal("", "ufo"), body_limit=0, stopping=asyncio.Event())

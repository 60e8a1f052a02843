"""The four routes: every check in its order, every refusal in its shape (contract 2), and what we add to them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from tests.faces.ufo.serving import SECONDS, Server, served
from tests.faces.ufo.stock import device
from treadle.core.leases import Claim, Finish
from treadle.core.tasks import Hold, Result
from treadle.faces.ufo.dispatching import PROJECT, queue_of, worker_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("ufo")) as running:
        yield running


def posted(server: Server, body: Any, **more: Any) -> tuple[int, Any]:
    answer = server.http.post("/api/dispatch", json=body, **more)
    return answer.status_code, answer.json()


def sent(server: Server, content: bytes, media: str | None = "application/json") -> tuple[int, Any]:
    headers = {} if media is None else {"content-type": media}
    answer = server.http.post("/api/dispatch", content=content, headers=headers)
    return answer.status_code, answer.json()


NOT_ONLINE = (404, {"detail": "Client not online"})
EMPTY_TASK = (400, {"detail": "Empty task content"})
EMPTY_CLIENT = (400, {"detail": "Empty client ID"})


class TestChecks:
    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, EMPTY_TASK),
            ({"client_id": "a"}, EMPTY_TASK),
            ({"client_id": "", "request": ""}, EMPTY_TASK),
            ({"client_id": "a", "request": None}, EMPTY_TASK),
            ({"request": "x"}, EMPTY_CLIENT),
            ({"client_id": None, "request": "x"}, EMPTY_CLIENT),
            ({"client_id": "", "request": "x"}, EMPTY_CLIENT),
            ({"client_id": "a", "request": "x"}, NOT_ONLINE),
            ({"client_id": "a", "request": "x", "task_name": None}, NOT_ONLINE),
            ({"client_id": "a", "request": "x", "colour": {"any": 1}}, NOT_ONLINE),
            ({"device_id": "a", "task": "x"}, EMPTY_TASK),
            ({"device_id": "a", "request": "x"}, EMPTY_CLIENT),
        ],
    )
    def test_what_is_missing(self, server: Server, body: Any, answer: Any) -> None:
        assert posted(server, body) == answer

    @pytest.mark.parametrize(
        ("body", "loc", "kind"),
        [
            ({"client_id": "a", "request": 5}, ["body", "request"], "string_type"),
            ({"client_id": "a", "request": ["x"]}, ["body", "request"], "string_type"),
            ({"client_id": "a", "request": {"a": 1}}, ["body", "request"], "string_type"),
            ({"client_id": 5, "request": "x"}, ["body", "client_id"], "string_type"),
            ({"client_id": ["a"], "request": "x"}, ["body", "client_id"], "string_type"),
            ({"client_id": "a", "request": "x", "task_name": 7}, ["body", "task_name"], "string_type"),
            ({"client_id": "a", "request": "x", "task_name": "n" * 257}, ["body", "task_name"], "string_too_long"),
            ({"client_id": "a" * 257, "request": "x"}, ["body", "client_id"], "string_too_long"),
            ({"client_id": "a", "request": "x\0y"}, ["body", "request"], "value_error"),
            ({"client_id": "a", "request": "x", "when_online": "yes"}, ["body", "when_online"], "bool_type"),
            ({"client_id": "a", "request": "x", "ttl": -1}, ["body", "ttl"], "out_of_range"),
            ({"client_id": "a", "request": "x", "ttl": True}, ["body", "ttl"], "float_type"),
            ({"client_id": "a", "request": 10**40}, ["body", "request"], "string_type"),
        ],
    )
    def test_what_is_of_the_wrong_kind(self, server: Server, body: Any, loc: list[str], kind: str) -> None:
        status, told = posted(server, body)
        assert status == 422
        [wrong] = told["detail"]
        assert (wrong["loc"], wrong["type"]) == (loc, kind)
        assert wrong["msg"]

    def test_every_wrong_field_is_told(self, server: Server) -> None:
        status, told = posted(server, {"client_id": 1, "request": 2, "task_name": 3})
        assert status == 422
        assert [wrong["loc"][1] for wrong in told["detail"]] == ["request", "client_id", "task_name"]
        assert [wrong["input"] for wrong in told["detail"]] == [2, 1, 3]

    @pytest.mark.parametrize(
        ("content", "media", "kind"),
        [
            (b"[1]", "application/json", "dict_type"),
            (b'"x"', "application/json", "dict_type"),
            (b"null", "application/json", "dict_type"),
            (b"{", "application/json", "json_invalid"),
            (b"\xff\xfe", "application/json", "json_invalid"),
            (b'{"request":"\\ud800","client_id":"a"}', "application/json", "json_invalid"),
            (b"[" * 100_000, "application/json", "json_invalid"),
            (b"", "application/json", "missing"),
            (b"", None, "missing"),
            (b'{"request":"x","client_id":"a"}', "text/plain", "dict_type"),
            (b"request=x&client_id=a", "application/x-www-form-urlencoded", "json_invalid"),
        ],
    )
    def test_what_is_no_object(self, server: Server, content: bytes, media: str | None, kind: str) -> None:
        status, told = sent(server, content, media)
        assert status == 422
        [wrong] = told["detail"]
        assert wrong["type"] == kind
        assert wrong["loc"] == ["body"]
        assert wrong["msg"]

    @pytest.mark.parametrize("media", [None, "application/json; charset=utf-8", "application/vnd.x+json",
                                       "application/x-www-form-urlencoded"])  # fmt: skip
    def test_what_curl_says_of_json_does_not_matter(self, server: Server, media: str | None) -> None:
        assert sent(server, b'{"client_id":"a","request":"x"}', media) == NOT_ONLINE

    def test_a_body_that_is_too_large(self, server: Server) -> None:
        status, told = sent(server, b'{"request":"' + b"x" * 11_000_000 + b'"}')
        assert status == 413
        assert "larger" in told["detail"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/api/dispatch", {"POST", "OPTIONS"}),
            ("PUT", "/api/dispatch", {"POST", "OPTIONS"}),
            ("POST", "/api/clients", {"GET", "HEAD", "OPTIONS"}),
            ("DELETE", "/api/task_result/x", {"GET", "HEAD", "OPTIONS"}),
            ("POST", "/api/health", {"GET", "HEAD", "OPTIONS"}),
        ],
    )
    def test_the_wrong_method(self, server: Server, method: str, path: str, allow: set[str]) -> None:
        answer = server.http.request(method, path)
        assert answer.status_code == 405
        assert answer.json() == {"detail": "Method Not Allowed"}
        assert set(answer.headers["allow"].split(", ")) == allow

    @pytest.mark.parametrize("path", ["/", "/api", "/api/nothing", "/api/task_result", "/api/task_result/", "/health"])
    def test_an_unknown_path(self, server: Server, path: str) -> None:
        answer = server.http.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})

    def test_an_unreadable_path(self, server: Server) -> None:
        answer = server.http.get("/api/task_result/%ff")
        assert (answer.status_code, list(answer.json())) == (400, ["detail"])

    def test_unknown_parameters_are_ignored_and_wrong_ones_are_told(self, server: Server) -> None:
        assert server.http.get("/api/task_result/x?colour=red").status_code == 200
        answer = server.http.get("/api/task_result/x?wait=soon")
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", "wait"]


class TestWhoIsThere:
    def test_nobody(self, server: Server) -> None:
        assert server.http.get("/api/clients").json() == {"online_clients": []}
        assert server.http.get("/api/health").json() == {"status": "healthy", "online_clients": []}

    def test_all_in_the_order_in_which_they_came(self, server: Server) -> None:
        with device(server.socket, "b"), device(server.socket, "a"), device(server.socket, "c"):
            server.online("b", "a", "c")
            assert server.http.get("/api/health").json()["online_clients"] == ["b", "a", "c"]
        server.online()


class TestDispatch:
    def test_the_receipt(self, server: Server) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: echo hi", "task_name": "inventory-7"})
            assert list(receipt) == ["status", "task_name", "client_id", "session_id"]
            assert receipt["status"] == "dispatched"
            assert (receipt["task_name"], receipt["client_id"]) == ("inventory-7", "d1")
            assert uuid.UUID(receipt["session_id"]).version == 4
            result = server.result("inventory-7")
        assert result["status"] == "completed"
        assert result["output"] == "hi"
        assert result["session_id"] == receipt["session_id"]
        assert (result["client_id"], result["task_name"]) == ("d1", "inventory-7")

    @pytest.mark.parametrize("given", [{}, {"task_name": None}, {"task_name": ""}])
    def test_a_name_is_made_where_none_is_given(self, server: Server, given: dict[str, Any]) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: true", **given})
            assert uuid.UUID(receipt["task_name"]).version == 4
            assert server.result(receipt["task_name"])["status"] == "completed"

    @pytest.mark.parametrize("name", ["with space", "a/b/c", "..", ".hidden", "ünïcode ✓", "a?b#c", "100%", "n" * 256])
    def test_any_name_will_do(self, server: Server, name: str) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: true", "task_name": name})
            assert receipt["task_name"] == name
            found = server.result(quote(name, safe="")) if name != ".." else server.result("%2E%2E")
            assert found["session_id"] == receipt["session_id"]

    def test_slashes_may_come_as_they_are(self, server: Server) -> None:
        with device(server.socket, "d1"):
            dispatched(server, {"client_id": "d1", "request": "run: true", "task_name": "galaxy/night/t1"})
            assert server.result("galaxy/night/t1")["task_name"] == "galaxy/night/t1"

    def test_the_session_is_the_one_that_the_receipt_names(self, server: Server) -> None:
        with device(server.socket, "d1") as connected:
            receipt = dispatched(server, {"client_id": "d1", "request": "run: true"})
            assert connected.until("task_end")["session_id"] == receipt["session_id"]
            assert connected.until("task")["session_id"] == receipt["session_id"]
            assert server.result(receipt["session_id"])["session_id"] == receipt["session_id"]

    def test_a_failure_is_done_too(self, server: Server) -> None:
        with device(server.socket, "d1"):
            dispatched(server, {"client_id": "d1", "request": "run: exit 3", "task_name": "fails"})
            result = server.result("fails")
        assert result["status"] == "failed"
        assert "3" in result["error"]

    def test_a_device_that_leaves_ends_its_task_at_once(self, server: Server) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def waits(_: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            go_on.wait(SECONDS)
            return {"success": True, "exit_code": 0, "stdout": "", "stderr": ""}

        with device(server.socket, "d1", tools={"execute_command": waits}) as connected:
            dispatched(server, {"client_id": "d1", "request": "run: sleep 1000", "task_name": "cut"})
            assert begun.wait(SECONDS)
            connected.vanish()
            result = server.result("cut")
            go_on.set()
        assert result["status"] == "failed"
        assert "disconnected" in result["error"]


class TestReusedNames:
    def test_the_newest_dispatch_has_the_name(self, server: Server) -> None:
        with device(server.socket, "d1"):
            first = dispatched(server, {"client_id": "d1", "request": "run: echo 1", "task_name": "again"})
            assert server.result("again")["output"] == "1"
            second = dispatched(server, {"client_id": "d1", "request": "run: echo 2", "task_name": "again"})
            assert server.result("again")["output"] == "2"
            assert server.result(first["session_id"])["output"] == "1"
            assert server.result(second["session_id"])["output"] == "2"

    def test_also_while_the_older_one_waits(self, server: Server) -> None:
        with device(server.socket, "d1"):
            receipts = [
                dispatched(server, {"client_id": "d1", "request": f"run: echo {n}", "task_name": "many"})
                for n in range(5)
            ]
            assert server.result("many")["output"] == "4"
            shown = [server.result(receipt["session_id"])["output"] for receipt in receipts]
        assert shown == ["0", "1", "2", "3", "4"]


class TestResults:
    def test_an_unknown_name_is_pending_and_said_to_be_unknown(self, server: Server) -> None:
        answer = server.http.get("/api/task_result/never")
        assert (answer.status_code, answer.json()) == (200, {"status": "pending"})
        assert answer.headers["x-task-known"] == "false"

    def test_a_known_one_is_pending_and_said_to_be_known(self, server: Server) -> None:
        with device(server.socket, "silent", echoes=False):
            dispatched(server, {"client_id": "silent", "request": "x", "task_name": "waits"})
            answer = server.http.get("/api/task_result/waits")
            assert answer.json() == {"status": "pending"}
            assert answer.headers["x-task-known"] == "true"

    def test_waiting_ends_with_the_task(self, server: Server) -> None:
        go_on = threading.Event()

        def waits(_: dict[str, Any]) -> dict[str, Any]:
            go_on.wait(SECONDS)
            return {"success": True, "exit_code": 0, "stdout": "late", "stderr": ""}

        with device(server.socket, "d1", tools={"execute_command": waits}):
            dispatched(server, {"client_id": "d1", "request": "run: x", "task_name": "slow"})
            threading.Timer(0.3, go_on.set).start()
            began = time.monotonic()
            assert server.result("slow", wait=20)["output"] == "late"
            assert 0.2 < time.monotonic() - began < 5

    @pytest.mark.parametrize("name", ["unknown", "pending"])
    def test_waiting_ends_with_its_time(self, server: Server, name: str) -> None:
        with device(server.socket, "silent", echoes=False):
            dispatched(server, {"client_id": "silent", "request": "x", "task_name": "pending"})
            began = time.monotonic()
            answer = server.http.get(f"/api/task_result/{name}?wait=0.3")
            assert answer.json() == {"status": "pending"}
            assert 0.3 <= time.monotonic() - began < 3

    def test_waiting_for_a_name_that_is_yet_to_come(self, server: Server) -> None:
        found: list[dict[str, Any]] = []
        with device(server.socket, "d1"):
            waiting = threading.Thread(target=lambda: found.append(server.result("to-come", wait=15)))
            waiting.start()
            dispatched(server, {"client_id": "d1", "request": "run: echo here", "task_name": "to-come"})
            waiting.join(SECONDS)
        assert found[0]["output"] == "here"


class TestConstellations:
    def test_what_one_asked_for_is_found_by_its_names(self, server: Server) -> None:
        session_id, name = "night@t1", "galaxy/night/t2"
        about = {"client_type": "constellation", "client_id": "night@d1", "target_id": "d1"}
        with device(server.socket, "d1"), connect(server.socket, proxy=None) as constellation:
            server.online("d1")
            constellation.send(json.dumps({"type": "register", "status": "ok", **about}))
            assert json.loads(constellation.recv(SECONDS))["status"] == "ok"
            asked = {"type": "task", "status": "continue", "request": "run: echo far", **about}
            constellation.send(json.dumps(asked | {"session_id": session_id, "task_name": name}))
            while (frame := json.loads(constellation.recv(SECONDS)))["type"] != "task_end":
                assert frame["session_id"] == session_id
            assert (frame["status"], frame["session_id"]) == ("completed", session_id)
            assert server.result(name)["output"] == "far"
            assert server.result(session_id)["session_id"] == session_id
            assert followed(server, session_id)[-1][2]["result"]["task_name"] == name


class TestEvents:
    def test_what_happens_in_a_session(self, server: Server) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: echo hi", "task_name": "told"})
            events = followed(server, receipt["session_id"])
        assert [name for _, name, _ in events][-1] == "end"
        assert events[-1][2] == {"status": "done", "result": server.result("told")}
        kinds = [data["event"] for _, name, data in events if name is None]
        assert kinds.count("command") == 2
        assert kinds.count("results") == 2
        places = [int(id) for id, _, _ in events]
        assert places == sorted(places)

    def test_going_on_where_one_was(self, server: Server) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: echo hi"})
            events = followed(server, receipt["session_id"])
        for place, (id, _, _) in enumerate(events[:-1]):
            again = followed(server, receipt["session_id"], headers={"last-event-id": id})
            assert again == events[place + 1 :]
            assert followed(server, receipt["session_id"], after=id) == again

    def test_they_come_as_they_happen(self, server: Server) -> None:
        go_on = threading.Event()

        def waits(_: dict[str, Any]) -> dict[str, Any]:
            assert go_on.wait(SECONDS)
            return {"success": True, "exit_code": 0, "stdout": "", "stderr": ""}

        with device(server.socket, "d1", tools={"execute_command": waits}):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: x"})
            with server.http.stream("GET", f"/api/tasks/{receipt['session_id']}/events") as stream:
                seen = []
                for line in stream.iter_lines():
                    seen.append(line)
                    if line.startswith("data: ") and "execute_command" in line:
                        go_on.set()  # the task ends only after we have seen that it goes on
        assert "event: end" in seen

    def test_what_is_not_kept_is_said(self, server: Server) -> None:
        receipt = posted(server, {"client_id": "gap", "request": "x", "when_online": True})[1]
        [task] = server.do(
            lambda fabric: fabric.tasks.claim(Claim(project=PROJECT, worker=worker_of("gap"), queue=queue_of("gap")))
        )

        def printed(at: int, text: bytes) -> None:
            server.do(lambda fabric: fabric.output.write(task.id, task.fence, at, [("stdout", text)]))

        printed(0, b'{"n":1}\n{"n":')
        printed(100, b'lost}\n{"n":3}\n')
        hold = Hold(worker=worker_of("gap"), fence=task.fence)
        finish = Finish(task=task.id, by=hold, result=Result(ok=True, output={"output": "x"}))
        server.do(lambda fabric: fabric.tasks.finish(finish))
        events = followed_raw(server, receipt["session_id"])
        assert events[:2] == [("8", None, '{"n":1}'), ("100", "gap", '{"start":13,"end":100}')]
        assert events[-2][2] == '{"n":3}'
        assert events[-1][1] == "end"

    def test_an_unknown_session(self, server: Server) -> None:
        answer = server.http.get("/api/tasks/nobody/events")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Session nobody not found"})

    def test_a_place_that_is_none(self, server: Server) -> None:
        with device(server.socket, "d1"):
            receipt = dispatched(server, {"client_id": "d1", "request": "run: true"})
        answer = server.http.get(f"/api/tasks/{receipt['session_id']}/events", headers={"last-event-id": "x"})
        assert answer.status_code == 422


def dispatched(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """The receipt of a task for the only device there is."""
    server.online(body["client_id"])
    status, receipt = posted(server, body)
    assert status == 200, receipt
    found: dict[str, Any] = receipt
    return found


def followed(server: Server, session_id: str, **more: Any) -> list[tuple[str, str | None, Any]]:
    """The events to the end: id, name and data."""
    return [(id, name, json.loads(data)) for id, name, data in followed_raw(server, session_id, **more)]


def followed_raw(server: Server, session_id: str, **more: Any) -> list[tuple[str, str | None, str]]:
    """The same, with the data as its text."""
    headers, params = more.pop("headers", {}), more
    answer = server.http.get(f"/api/tasks/{session_id}/events", headers=headers, params=params)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((lines["id"], lines.get("event"), lines["data"]))
    return events

"""How a task ended, in every way in which one can; and that what was acknowledged outlives the server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.faces.ufo.serving import SECONDS, Server, served, until
from tests.faces.ufo.stock import Device, device
from treadle.core.access import Principal
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.core.leases import Claim
from treadle.core.ports import Filter
from treadle.core.submitting import NewTask, Submit
from treadle.core.tasks import Hold, Result, Task
from treadle.faces.ufo.dispatching import KIND, PROJECT, names, worker_of
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.results import LOST, UNEXPLAINED, result_of, shown
from treadle.faces.ufo.running import Outcome
from treadle.faces.ufo.sweeping import LEFT, NEVER_CAME
from treadle.faces.ufo.workers import STOPPING

VARIABLES = {"client_id": "d1", "task_name": "n", "session_id": "s"}
QUEUED = Task(id="t", project="p", created=0, updated=0, kind=KIND, variables=VARIABLES)
RUNNING = QUEUED.claimed(worker=worker_of("d1"), holder=None, attempt="a", now=1, until=9)
HOLD = Hold(worker=worker_of("d1"), fence=1)
OWN = {"session_id": "s", "task_name": "n", "client_id": "d1"}


class TestShown:
    def test_nothing_while_it_goes_on(self) -> None:
        assert shown(QUEUED) is None
        assert shown(RUNNING) is None

    def test_success(self) -> None:
        done = RUNNING.succeeded(HOLD, result_of(Outcome(True, "Linux", rounds=[{"request": "x", "result": "y"}])), 2)
        assert shown(done) == {
            "status": "completed", "output": "Linux", "rounds": [{"request": "x", "result": "y"}], **OWN,
        }  # fmt: skip

    def test_without_an_output_it_is_not_empty(self) -> None:
        assert shown(RUNNING.succeeded(HOLD, result_of(Outcome(True)), 2)) == {
            "status": "completed", "output": None, **OWN,
        }  # fmt: skip

    def test_keys_of_an_object_are_the_results_too_and_take_no_key_of_its_own(self) -> None:
        given = {"action": "Opened", "status": "mine", "session_id": "mine", "error": "mine"}
        told = shown(RUNNING.succeeded(HOLD, result_of(Outcome(True, given)), 2))
        assert told == {"status": "completed", "output": given, "action": "Opened", **OWN}

    def test_failure(self) -> None:
        done = RUNNING.failed(HOLD, result_of(Outcome(False, None, "no such tool", usage={"tokens": 7})), 2)
        assert shown(done) == {
            "status": "failed", "output": None, "error": "no such tool", "usage": {"tokens": 7}, **OWN,
        }  # fmt: skip
        assert done.state == "failed"

    def test_a_failure_that_does_not_say_why(self) -> None:
        told = shown(RUNNING.failed(HOLD, result_of(Outcome(False)), 2))
        assert told is not None
        assert told["error"] == UNEXPLAINED

    def test_called_off(self) -> None:
        told = shown(QUEUED.cancelled("because", 2))
        assert told == {"status": "failed", "output": None, "error": "because", **OWN}

    def test_lost(self) -> None:
        told = shown(replace(RUNNING, on_lost="fail").lost(10))
        assert told is not None
        assert (told["status"], told["error"]) == ("failed", LOST)

    def test_what_somebody_else_has_handed_in(self) -> None:
        told = shown(RUNNING.succeeded(HOLD, Result(ok=True, output="plain"), 2))
        assert told == {"status": "completed", "output": "plain", **OWN}
        told = shown(RUNNING.failed(HOLD, Result(ok=False), 2))
        assert told == {"status": "failed", "output": None, "error": UNEXPLAINED, **OWN}


def begun(server: Server) -> tuple[Device, threading.Event]:
    """A device in the middle of a command, and what lets it go on."""
    going, go_on = threading.Event(), threading.Event()

    def waits(_: dict[str, Any]) -> dict[str, Any]:
        going.set()
        go_on.wait(SECONDS)
        return {"success": True, "exit_code": 0, "stdout": "late", "stderr": ""}

    made = Device(server.socket, "d1", tools={"execute_command": waits})
    server.online("d1")
    server.dispatch("d1", "run: x", "running")
    assert going.wait(SECONDS)
    return made, go_on


class TestRestart:
    def test_results_outlive_the_server(self, tmp_path: Path) -> None:
        with served(tmp_path) as server, device(server.socket, "d1"):
            server.online("d1")
            first = server.dispatch("d1", "run: echo kept", "lasting")
            before = server.result("lasting")
        with served(tmp_path) as server:
            assert server.result("lasting", wait=0) == before
            assert server.result(first["session_id"], wait=0) == before
            events = server.http.get(f"/api/tasks/{first['session_id']}/events").text
            assert events.count("data: ") == 7
            assert events.count("event: end") == 1

    def test_a_clean_stop_ends_what_runs(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            made, go_on = begun(server)
            server.stop()
            go_on.set()
            made.close()
        with served(tmp_path) as server:
            told = server.result("running", wait=0)
        assert (told["status"], told["error"]) == ("failed", STOPPING)

    def test_what_nobody_had_begun_waits_for_its_device(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            made, go_on = begun(server)
            server.dispatch("d1", "run: echo second", "next")
            server.stop()
            go_on.set()
            made.close()
        with served(tmp_path) as server:
            assert server.http.get("/api/task_result/next").json() == {"status": "pending"}
            with device(server.socket, "d1"):
                assert server.result("next")["output"] == "second"


class TestAbsence:
    def test_a_task_may_wait_for_its_device(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            receipt = server.dispatch("d1", "run: echo at last", "patient", when_online=True, ttl=60)
            assert list(receipt) == ["status", "task_name", "client_id", "session_id", "waits_until"]
            assert receipt["waits_until"].endswith("Z")
            server.look()
            assert server.http.get("/api/task_result/patient").json() == {"status": "pending"}
            with device(server.socket, "d1"):
                assert server.result("patient")["output"] == "at last"

    def test_the_address_says_it_too_and_the_body_wins(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            body = {"client_id": "d1", "request": "run: true"}
            asked = lambda more, query: server.http.post(f"/api/dispatch{query}", json=body | more).status_code  # noqa: E731
            assert asked({}, "") == 404
            assert asked({}, "?when_online=true&ttl=5") == 200
            assert asked({"when_online": False}, "?when_online=true") == 404
            assert asked({"when_online": True}, "?when_online=false") == 200
            assert asked({}, "?when_online=maybe") == 422
            assert asked({}, "?when_online=true&ttl=0") == 422

    def test_it_waits_as_long_as_it_is_told_to(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            server.dispatch("d1", "run: true", "patient", when_online=True, ttl=100)
            server.clock.advance(99)
            server.look()
            assert server.http.get("/api/task_result/patient").json() == {"status": "pending"}
            server.clock.advance(2)
            server.look()
            told = server.result("patient", wait=0)
        assert (told["status"], told["error"]) == ("failed", NEVER_CAME)

    def test_what_waits_for_a_device_that_left_is_given_up(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(absence=60)) as server:
            made, go_on = begun(server)
            server.dispatch("d1", "run: echo never", "stranded")
            made.vanish()
            go_on.set()
            server.online()
            assert server.result("running")["status"] == "failed"
            server.look()
            server.clock.advance(59)
            server.look()
            assert server.http.get("/api/task_result/stranded").json() == {"status": "pending"}
            server.clock.advance(2)
            server.look()
            told = server.result("stranded", wait=0)
        assert (told["status"], told["error"]) == ("failed", LEFT)

    def test_a_device_that_comes_back_in_time_finds_its_task(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            made, go_on = begun(server)
            server.dispatch("d1", "run: echo found", "kept")
            made.vanish()
            go_on.set()
            server.online()
            server.look()
            with device(server.socket, "d1"):
                assert server.result("kept")["output"] == "found"

    def test_another_replica_may_have_the_device(self, tmp_path: Path) -> None:
        """What runs elsewhere shows that the device is there: what waits behind it is not given up."""
        with served(tmp_path) as server:
            server.dispatch("d1", "run: true", "there", when_online=True, ttl=1)
            server.dispatch("d1", "run: true", "behind", when_online=True, ttl=1)
            claim = Claim(project=PROJECT, worker=worker_of("d1"), queue=worker_of("d1"))
            server.do(lambda fabric: fabric.tasks.claim(claim))
            server.clock.advance(30)
            server.look()
            assert server.http.get("/api/task_result/behind").json() == {"status": "pending"}

    def test_a_device_that_never_takes_its_task(self, tmp_path: Path) -> None:
        with (
            served(tmp_path, limits=Limits(accept=0.3)) as server,
            device(server.socket, "d1", echoes=False),
        ):
            server.online("d1")
            server.dispatch("d1", "run: true", "ignored")
            told = server.result("ignored")
        assert told["status"] == "failed"
        assert "did not take the task" in told["error"]


class TestFullQueue:
    def test_what_is_too_much_has_failed_at_once(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(queue=2)) as server:
            made, go_on = begun(server)
            for name in ("one", "two", "three"):
                assert server.dispatch("d1", "run: true", name)["status"] == "dispatched"
            told = server.result("three", wait=0)
            assert told["status"] == "failed"
            assert "full" in told["error"]
            assert server.http.get("/api/task_result/two").json() == {"status": "pending"}
            go_on.set()
            assert server.result("two")["status"] == "completed"
            assert server.dispatch("d1", "run: true", "four")["status"] == "dispatched"
            assert server.result("four")["status"] == "completed"
            made.close()

    def test_a_new_server_counts_what_waits(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(queue=2)) as server:
            for name in ("one", "two"):
                server.dispatch("d1", "run: true", name, when_online=True)
        with served(tmp_path, limits=Limits(queue=2)) as server:
            server.look()
            server.dispatch("d1", "run: true", "three", when_online=True)
            assert "full" in server.result("three", wait=0)["error"]


class TestRetention:
    def forgotten(self, server: Server) -> None:
        server.do(lambda _: server.app.sweeping.forget())

    async def kept(self, fabric: Fabric) -> tuple[int, int]:
        """How many tasks and how many names there are."""
        project = (await fabric.projects.get(PROJECT)).project.id
        tasks = await fabric.tasks.count(Filter(project=project))
        return tasks, len(await fabric.store.read(names.page))

    def test_after_a_day(self, tmp_path: Path) -> None:
        with served(tmp_path) as server, device(server.socket, "d1"):
            server.online("d1")
            receipt = server.dispatch("d1", "run: true", "old")
            server.result("old")
            server.clock.advance(24 * 3600 - 60)
            server.dispatch("d1", "run: true", "young")
            server.result("young")
            self.forgotten(server)
            assert server.result("old", wait=0)["status"] == "completed"
            server.clock.advance(120)
            self.forgotten(server)
            for word in ("old", receipt["session_id"]):
                answer = server.http.get(f"/api/task_result/{word}")
                assert (answer.json(), answer.headers["x-task-known"]) == ({"status": "pending"}, "false")
            assert server.http.get(f"/api/tasks/{receipt['session_id']}/events").status_code == 404
            assert server.result("young", wait=0)["status"] == "completed"
            assert server.do(self.kept) == (1, 1)

    def test_the_newest_so_many(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(kept=3)) as server, device(server.socket, "d1"):
            server.online("d1")
            for number in range(7):
                server.dispatch("d1", "run: true", f"n{number}")
                server.result(f"n{number}")
            self.forgotten(server)
            answers = [server.http.get(f"/api/task_result/n{number}").json()["status"] for number in range(7)]
            assert answers == ["pending"] * 4 + ["done"] * 3
            assert server.do(self.kept) == (3, 3)

    def test_a_name_that_was_reused_stays_with_the_newer_task(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(kept=1)) as server, device(server.socket, "d1"):
            server.online("d1")
            for number in range(2):
                server.dispatch("d1", f"run: echo {number}", "same")
                server.result("same")
            self.forgotten(server)
            assert server.result("same", wait=0)["output"] == "1"
            assert server.do(self.kept) == (1, 1)

    def test_what_has_not_ended_is_never_forgotten(self, tmp_path: Path) -> None:
        with served(tmp_path, limits=Limits(kept=0)) as server:
            server.dispatch("d1", "run: true", "waits", when_online=True, ttl=30 * 24 * 3600)
            server.clock.advance(10 * 24 * 3600)
            self.forgotten(server)
            assert server.http.get("/api/task_result/waits").headers["x-task-known"] == "true"


class TestForeignTasks:
    def test_what_others_put_into_our_queues_breaks_nothing(self, tmp_path: Path) -> None:
        by = Principal("somebody", "fabric", ("*",))
        with served(tmp_path, limits=Limits(kept=0)) as server:
            server.dispatch("d1", "run: echo mine", "mine", when_online=True)
            strange = [
                NewTask(kind=KIND, queue=worker_of("d1")),
                NewTask(kind="work", queue=worker_of("d1")),
                NewTask(kind=KIND, queue="elsewhere", variables={"client_id": 5}),
            ]
            made = server.do(lambda fabric: fabric.tasks.submit(Submit(project=PROJECT, tasks=strange, by=by)))
            server.look()
            with device(server.socket, "d1"):
                assert server.result("mine")["output"] == "mine"
                for task in made[:2]:
                    assert isinstance(task, Task)
                    ended = server.do(lambda fabric, id=task.id: fabric.tasks.settled(id, 10))
                    assert ended.state == "failed"
            server.do(lambda _: server.app.sweeping.forget())
            assert not [line for line in server.lines() if line["level"] == "error"]


def test_a_lease_that_is_lost_is_a_result_that_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        server.dispatch("d1", "run: true", "lost", when_online=True)
        claim = Claim(project=PROJECT, worker=worker_of("d1"), queue=worker_of("d1"), lease=SECOND)
        server.do(lambda fabric: fabric.tasks.claim(claim))
        server.clock.advance(30)
        until(lambda: server.http.get("/api/task_result/lost").json()["status"] == "done", "the sweep")
        told = server.result("lost", wait=0)
    assert (told["status"], told["error"]) == ("failed", LOST)

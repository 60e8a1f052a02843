"""A device and its server: registration, commands, losing the connection, and what is delivered afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.device.scripted import SECONDS, Peer, said, scripted
from tests.node.watching import ENV, marked, until
from treadle.core.ids import new_id
from treadle.device.address import Address
from treadle.device.device import Device, Ways
from treadle.device.dialogue import Dialogue
from treadle.device.tools.commands import Commands
from treadle.device.tools.machine import own_tools, server
from treadle.device.tools.roots import Roots
from treadle.device.tools.servers import InProcess
from treadle.device.tools.system import system_info
from treadle.device.tools.toolbox import Toolbox
from treadle.device.unsent import Unsent
from treadle.device.work import Work
from treadle.node.inventory import Inventory
from treadle.node.processes import Processes


class Time:
    """A clock that stands still, and pauses that end when the test says so."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.go_on = asyncio.Semaphore(1_000_000 if at_once else 0)
        self.pausing = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.pausing.set()
        await self.go_on.acquire()


class Made:
    """A device that runs, and what it was made of."""

    def __init__(self, device: Device, unsent: Unsent, mark: str) -> None:
        self.device, self.unsent, self.mark = device, unsent, mark

    async def delivered(self) -> None:
        """Wait until nothing is kept any more."""
        await until(lambda: not self.unsent.waiting())


Make = Callable[..., Any]


@pytest.fixture
def make(processes: Processes, tmp_path: Path) -> Make:
    """Makes devices; each is a context in which it runs."""
    (tmp_path / "root").mkdir()

    @asynccontextmanager
    async def made(
        url: str,
        *,
        time_: Time | None = None,
        executor: tuple[str, ...] = (),
        token: str = "",
        about: Callable[[str], dict[str, Any]] | None = None,
    ) -> AsyncIterator[Made]:
        time_ = time_ or Time()
        env = {**ENV, "MARK": tmp_path.name}
        roots = Roots([tmp_path / "root"])
        commands = Commands(processes, roots, env)
        dialogue = Dialogue(
            "lab-1", {"platform": "linux"}, executes=bool(executor), stamp=lambda: "2026-01-05", new_id=new_id
        )
        unsent = Unsent(tmp_path / "answers", time.time)
        async with InProcess(server(own_tools(commands, roots, Inventory(tmp_path), env))) as machine:
            device = Device(
                Address(url, token),
                dialogue,
                unsent,
                about or (lambda address: system_info("lab-1", "linux", address, ["cli"])),
                Ways(time_, time_.sleep, lambda _, most: most),
                lambda answer: Work(dialogue, Toolbox([machine]), commands, executor, answer),
            )
            running = asyncio.create_task(device.run())
            try:
                yield Made(device, unsent, f"MARK={tmp_path.name}")
            finally:
                await device.stop()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                roots.close()

    return made


async def test_it_registers_as_the_stock_device_does(make: Make) -> None:
    async with scripted() as script, make(script.url) as made:
        peer = await script.client()
        frame = await peer.accept()
        assert (frame["type"], frame["client_type"], frame["client_id"]) == ("register", "device", "lab-1")
        info = frame["metadata"]["system_info"]
        assert set(info) == {
            "device_id", "platform", "os_version", "cpu_count", "memory_total_gb", "hostname", "ip_address",
            "supported_features", "platform_type", "schema_version", "custom_metadata",
        }  # fmt: skip
        assert (info["ip_address"], info["platform_type"]) == ("127.0.0.1", "computer")
        assert info["memory_total_gb"] > 0
        assert info["cpu_count"] > 0
        await asyncio.wait_for(made.device.registered.wait(), SECONDS)


async def test_the_whole_dialogue_of_a_dispatch(make: Make) -> None:
    """The flow of 5.3, with the stock server's frames."""
    async with scripted() as script, make(script.url) as made:
        peer = await script.device()
        await peer.say(type="task", status="continue", user_request="Which OS?", task_name="T", session_id="S1")
        echo = await peer.heard("task")
        assert (echo["task_name"], echo["request"], echo["session_id"]) == ("T", "Which OS?", None)
        await peer.say(type="heartbeat", status="ok", session_id="S1")
        await peer.command("r-1", ("list_tools", {"tool_type": "action"}), session="S1")
        tools = said(await peer.results("r-1"))
        assert "action::execute_command" in [tool["tool_key"] for tool in tools]
        await peer.command("r-2", ("execute_command", {"command": "uname -s", "api_key": "***"}), session="S1")
        answer = said(await peer.results("r-2"))
        assert (answer["success"], answer["exit_code"], answer["stdout"]) == (True, 0, "Linux\n")
        await peer.say(type="task_end", status="completed", session_id="S1", response_id="e-1", result=[])
        await made.delivered()


async def test_calls_of_a_command_run_in_order_and_stop_at_the_first_failure(make: Make) -> None:
    async with scripted() as script, make(script.url):
        peer = await script.device()
        await peer.command(
            "r-1",
            ("execute_command", {"command": "sleep 0.2; echo one >> order"}),
            ("execute_command", {"command": "echo two >> order; exit 5"}),
            ("read_file", {"path": "order"}),
            ("no_such_tool", {}),
            ("execute_command", {"command": "echo never >> order"}),
        )
        results = await peer.results("r-1")
        assert [result["status"] for result in results] == ["success", "success", "success", "failure", "skipped"]
        assert [result["call_id"] for result in results] == ["c-0", "c-1", "c-2", "c-3", "c-4"]
        assert said(results, 1)["success"] is False
        assert said(results, 2)["content"] == "one\ntwo\n"


async def test_commands_of_a_session_queue_and_those_of_others_do_not(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with scripted() as script, make(script.url):
        peer = await script.device()
        wait = "while [ ! -e go ]; do sleep 0.01; done; echo slow >> order"
        await peer.command("r-1", ("execute_command", {"command": wait}), session="a")
        await peer.command("r-2", ("execute_command", {"command": "echo after >> order"}), session="a")
        await peer.command("r-3", ("execute_command", {"command": "echo other >> order; touch go"}), session="b")
        answers = [(await peer.heard("command_results"))["prev_response_id"] for _ in range(3)]
        assert answers.index("r-1") < answers.index("r-2")
        assert (root / "order").read_text() == "other\nslow\nafter\n"


async def test_the_end_of_a_session_ends_its_commands_and_no_others(make: Make) -> None:
    async with scripted() as script, make(script.url) as made:
        peer = await script.device()
        await peer.command("r-1", ("execute_command", {"command": "sleep 300"}), session="a")
        await peer.command("r-2", ("execute_command", {"command": "sleep 300"}), session="a")
        await peer.command(
            "r-3", ("execute_command", {"command": "while [ ! -e go ]; do sleep 0.01; done"}), session="b"
        )
        await until(lambda: len(marked(made.mark)) >= 2)
        await peer.say(type="task_end", status="failed", session_id="a", error="called off")
        await peer.command("r-4", ("execute_command", {"command": "touch go"}), session="c")
        answered = {(await peer.heard("command_results"))["prev_response_id"] for _ in range(2)}
        assert answered == {"r-3", "r-4"}
        await until(lambda: marked(made.mark) == [])


async def test_what_is_no_frame_is_passed_over(make: Make) -> None:
    async with scripted() as script, make(script.url):
        peer = await script.device()
        for junk in ("{", '{"type":"dance","status":"ok"}', b"\xff", "[]", '{"type":"command"}'):
            await peer.socket.send(junk)
        await peer.say(type="error", status="error", error="something")
        await peer.socket.send(b'{"type":"task","status":"continue","task_name":"in bytes"}')
        assert (await peer.heard("task"))["task_name"] == "in bytes"


async def test_a_result_that_finished_without_a_connection_comes_with_the_next_one(make: Make, tmp_path: Path) -> None:
    pausing = Time(at_once=False)
    async with scripted() as script, make(script.url, time_=pausing) as made:
        peer = await script.device()
        command = "echo x >> runs; while [ ! -e go ]; do sleep 0.01; done; echo done"
        await peer.command("r-1", ("execute_command", {"command": command}))
        await until((tmp_path / "root" / "runs").exists)
        await peer.cut()
        await asyncio.wait_for(pausing.pausing.wait(), SECONDS)
        (tmp_path / "root" / "go").touch()
        await until(lambda: made.unsent.waiting() == [("s-1", "r-r-1")])
        assert len(list((tmp_path / "answers").iterdir())) == 1
        pausing.go_on.release()
        peer = await script.device()
        assert said(await peer.results("r-1"))["stdout"] == "done\n"
        await made.delivered()
        await peer.command("r-1", ("execute_command", {"command": command}))  # a server that had not heard it
        assert said(await peer.results("r-1"))["stdout"] == "done\n"
        assert (tmp_path / "root" / "runs").read_text() == "x\n"  # it was not run again


async def test_a_result_that_was_sent_and_not_received_is_sent_again(make: Make, tmp_path: Path) -> None:
    """The server reads nothing, so the answer lies in some buffer when the connection breaks."""
    async with scripted() as script, make(script.url) as made:
        peer = await script.device()
        peer.socket.transport.pause_reading()
        await peer.command("r-1", ("execute_command", {"command": "echo done"}))
        await until(lambda: bool(made.unsent.waiting()))
        await peer.cut()
        peer = await script.device()
        assert said(await peer.results("r-1"))["stdout"] == "done\n"
        await made.delivered()


async def test_what_an_earlier_life_could_not_deliver_is_delivered_by_the_next(make: Make, tmp_path: Path) -> None:
    pausing = Time(at_once=False)
    async with scripted() as script:
        async with make(script.url, time_=pausing) as made:
            peer = await script.device()
            await peer.command("r-1", ("execute_command", {"command": "sleep 0.2; echo done"}))
            await until(lambda: bool(marked(made.mark)))
            await peer.cut()
            await until(lambda: bool(made.unsent.waiting()))
        async with make(script.url) as made:
            peer = await script.device()
            assert said(await peer.results("r-1"))["stdout"] == "done\n"
            await made.delivered()


async def test_pauses_grow_with_failures_and_shrink_after_a_good_minute(make: Make) -> None:
    pausing = Time(at_once=False)

    async def pause(number: int) -> float:
        await until(lambda: len(pausing.pauses) >= number)
        return pausing.pauses[number - 1]

    async with scripted() as script, make(script.url, time_=pausing):
        for number, most in enumerate((1, 2, 4, 8), 1):
            peer = await script.client()
            await peer.heard("register")
            await peer.say(type="error", status="error", error="lab-1 is connected already")
            await peer.socket.close(1000)
            assert await pause(number) == most
            pausing.go_on.release()
        peer = await script.device()
        await peer.say(type="task", status="continue", task_name="t")
        await peer.heard("task")  # now it is registered for its clock too
        await peer.cut()
        assert await pause(5) == 16  # it was there for no time
        pausing.go_on.release()
        peer = await script.device()
        await peer.say(type="task", status="continue", task_name="t")
        await peer.heard("task")
        pausing.now += 60
        await peer.socket.close(1000)  # a normal close is a loss like any other
        assert await pause(6) == 1
        pausing.go_on.release()
        await script.device()


async def test_a_server_that_is_away_is_waited_for(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async with scripted() as script:
        port = script.port
    pausing = Time(at_once=False)
    async with make(f"ws://127.0.0.1:{port}/ws", time_=pausing, token="sesame-öffne"):
        for number in range(1, 4):
            await until(lambda number=number: len(pausing.pauses) >= number)  # type: ignore[misc]
            if number < 3:
                pausing.go_on.release()
        async with scripted(port) as script:
            pausing.go_on.release()
            peer = await script.device()
            assert peer.path == "/ws?token=sesame-%C3%B6ffne"
    assert pausing.pauses[:3] == [1, 2, 4]
    assert "sesame" not in caplog.text


async def test_a_refused_handshake_and_a_first_word_that_is_none(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "treadle.device")
    refusals = [403, None]

    def door(connection: Any, request: Any) -> Any:
        status = refusals.pop(0) if refusals else None
        return connection.respond(status, "no") if status else None

    async with scripted(process_request=door) as script, make(script.url, token="sesame"):
        peer = await script.client()
        await peer.heard("register")
        await peer.socket.send("hello")
        await script.device()
    assert "HTTP 403" in caplog.text
    assert "first words are no frame" in caplog.text
    assert "sesame" not in caplog.text


async def test_a_device_that_executes_reports_the_end_itself(make: Make, tmp_path: Path) -> None:
    executor = ("/bin/sh", "-c", 'printf \'{"heard": "%s", "session": "%s"}\' "$(cat)" "$TREADLE_SESSION_ID"')
    async with scripted() as script, make(script.url, executor=executor) as made:
        peer = await script.client()
        assert (await peer.accept())["metadata"]["executes_requests"] is True
        await peer.say(type="task", status="continue", user_request="Do it", task_name="T", session_id="S1")
        await peer.heard("task")
        end = await peer.heard("task_end")
        assert (end["status"], end["session_id"], end["error"]) == ("completed", "S1", None)
        assert end["metadata"] == {"result": {"heard": "Do it", "session": "S1", "exit_code": 0}}
        await made.delivered()


async def test_an_executor_that_fails(make: Make) -> None:
    async with scripted() as script:
        async with make(script.url, executor=("/bin/sh", "-c", "echo part; echo broken >&2; exit 3")):
            end = await _ended(await script.device())
            assert (end["status"], end["error"]) == ("failed", "broken")
            assert end["metadata"]["result"] == {"output": "part\n", "exit_code": 3}
        async with make(script.url, executor=("no-such-program-anywhere",)):
            end = await _ended(await script.device(), "S2")
            assert end["status"] == "failed"
            assert "no-such-program-anywhere" in end["error"]


async def _ended(peer: Peer, session: str = "S1") -> dict[str, Any]:
    await peer.say(type="task", status="continue", user_request="x", task_name="T", session_id=session)
    await peer.heard("task")
    return await peer.heard("task_end")


async def test_an_execution_is_called_off(make: Make) -> None:
    async with scripted() as script, make(script.url, executor=("sleep", "300")) as made:
        peer = await script.device()
        await peer.say(type="task", status="continue", user_request="x", task_name="T", session_id="S1")
        await peer.heard("task")
        await until(lambda: bool(marked(made.mark)))
        await peer.say(type="task_end", status="failed", session_id="S1", error="called off")
        await until(lambda: marked(made.mark) == [])
        await peer.say(type="task", status="continue", task_name="next")
        assert (await peer.heard())["type"] == "task"  # and no task_end of its own before


async def test_a_server_that_commands_takes_the_request_back(make: Make) -> None:
    async with scripted() as script, make(script.url, executor=("sleep", "300")) as made:
        peer = await script.device()
        await peer.say(type="task", status="continue", user_request="x", task_name="T", session_id="S1")
        await peer.heard("task")
        await until(lambda: bool(marked(made.mark)))
        await peer.command("r-1", ("execute_command", {"command": "echo mine"}), session="S1")
        assert said(await peer.results("r-1"))["stdout"] == "mine\n"
        await until(lambda: marked(made.mark) == [])


async def test_stopping_ends_what_runs_and_says_goodbye(make: Make) -> None:
    async with scripted() as script:
        async with make(script.url) as made:
            peer = await script.device()
            await peer.command("r-1", ("execute_command", {"command": "trap '' TERM; sleep 300"}))
            await until(lambda: bool(marked(made.mark)))
        assert marked(made.mark) == []
        assert await peer.closed() == 1000


async def test_a_result_too_large_for_a_message_is_a_failure_that_says_so(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treadle.device.work.MOST", 128 * 1024)
    async with scripted() as script, make(script.url):
        peer = await script.device()
        await peer.command("r-1", ("execute_command", {"command": "head -c 200000 /dev/zero | tr '\\0' x"}))
        (result,) = await peer.results("r-1")
        assert (result["status"], result["call_id"]) == ("failure", "c-0")
        assert "more than a message may hold" in result["error"]


async def test_a_disk_that_is_full_keeps_no_answer_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("treadle.device.unsent.write_private", full)
    async with scripted() as script, make(script.url):
        peer = await script.device()
        await peer.command("r-1", ("execute_command", {"command": "echo done"}))
        assert said(await peer.results("r-1"))["stdout"] == "done\n"


async def test_a_server_that_is_silent_for_too_long_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.device.device.PING_SECONDS", 0.05)
    monkeypatch.setattr("treadle.device.device.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("treadle.device.device.CLOSE_SECONDS", 0.2)
    async with scripted() as script, make(script.url):
        peer = await script.device()
        await peer.say(type="task", status="continue", task_name="t")
        await peer.heard("task")
        peer.socket.transport.pause_reading()  # its pongs stay away, and nothing says that it is gone
        await script.device()
        await peer.cut()


async def test_it_gives_signs_of_life(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.device.device.HEARTBEAT_SECONDS", 0.02)
    async with scripted() as script, make(script.url):
        peer = await script.device()
        for _ in range(2):
            frame = await peer.heard("heartbeat")
            assert (frame["client_id"], frame["client_type"], frame["status"]) == ("lab-1", "device", "ok")
            await peer.say(type="heartbeat", status="ok")

"""One dialogue with a device, frame by frame (spec 5.3 to 5.5, 8.1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import convert

from tests.faces.ufo.aip_stage import Mute, Play, Runner, client_on, echo, one_command, soon
from treadle.faces.ufo.connection import Answered, EndTold, TaskAsked, Troubled
from treadle.faces.ufo.frames import ClientFrame, Result
from treadle.faces.ufo.options import Limits
from treadle.faces.ufo.running import (
    CommandFailed,
    CommandTimeout,
    DeviceGone,
    DeviceIO,
    Outcome,
    SessionError,
    TaskSpec,
    Tool,
    ToolCall,
    ToolResult,
)
from treadle.faces.ufo.sessions import DeviceSession, with_rounds

SPEC = TaskSpec(session_id="s", task_name="t", request="uname", client_id="d1", platform="linux")
BRIEF = Limits(accept=0.05, command=0.05, session=0.2)


class Scene:
    """A session on a wire in memory, and what it noted."""

    def __init__(self, limits: Limits | None = None, spec: TaskSpec = SPEC, requester: bool = False) -> None:
        self.wire, self.asker = Mute(), Mute()
        self.notes: list[dict[str, Any]] = []
        counter = iter(range(1000))
        self.session = DeviceSession(
            client_on(self.wire),
            spec,
            ids=lambda: f"id{next(counter)}",
            note=self._note,
            limits=limits or Limits(),
            requester=client_on(self.asker, "k", role="constellation") if requester else None,
        )

    async def _note(self, fact: dict[str, Any]) -> None:
        self.notes.append(fact)

    def start(self, play: Play, *, assign: bool = False) -> asyncio.Task[Outcome]:
        return asyncio.ensure_future(self.session.run(Runner(play), assign=assign))

    async def said(self, type: str, count: int = 1) -> dict[str, Any]:
        """The count-th frame of this type."""
        await soon(lambda: len(self.all(type)) >= count)
        return self.all(type)[count - 1]

    def all(self, type: str) -> list[dict[str, Any]]:
        return [frame for frame in self.wire.sent if frame["type"] == type]

    def answer(self, command: dict[str, Any], *results: dict[str, Any], session: str | None = "s") -> None:
        rows = convert([{"status": "success", **result} for result in results], list[Result])
        self.session.answered(Answered(session, command["response_id"], rows))


def end(**keys: Any) -> EndTold:
    return EndTold(ClientFrame(**{"type": "task_end", "status": "completed", "session_id": "s", **keys}))


def echo_of(**keys: Any) -> TaskAsked:
    return TaskAsked(**{"target": "d1", "request": "uname", "task_name": "t", **keys})


# the echo


async def test_the_assignment_and_its_echo() -> None:
    scene = Scene()
    running = scene.start(echo, assign=True)
    task = await scene.said("task")
    assert task == {
        "type": "task", "status": "continue", "user_request": "uname", "task_name": "t", "session_id": "s",
        "response_id": "id0",
    }  # fmt: skip
    assert scene.session.echoes(echo_of())
    assert await running == Outcome(True, "uname")
    assert scene.wire.sent[1:] == [{"type": "heartbeat", "status": "ok", "session_id": "s"}]
    assert not scene.session.echoes(echo_of())  # only once


async def test_an_echo_with_the_right_session_id_is_one_too() -> None:
    scene = Scene()
    running = scene.start(echo, assign=True)
    await scene.said("task")
    assert scene.session.echoes(echo_of(session_id="s"))
    await running


@pytest.mark.parametrize("keys", [{"task_name": "u"}, {"task_name": None}, {"session_id": "other"}])
async def test_what_is_no_echo(keys: dict[str, Any]) -> None:
    scene = Scene(BRIEF)
    running = scene.start(echo, assign=True)
    await scene.said("task")
    assert not scene.session.echoes(echo_of(**keys))
    outcome = await running
    assert not outcome.ok
    assert outcome.error == "Client d1 did not take the task within 0.05 s"
    assert scene.session.not_taken
    assert not scene.session.echoes(echo_of())  # too late


async def test_without_an_assignment_nothing_echoes_it() -> None:
    scene = Scene()
    assert not scene.session.echoes(echo_of())
    assert await scene.start(echo) == Outcome(True, "uname")
    assert scene.wire.sent == []


# commands


async def test_a_command_and_its_results() -> None:
    scene = Scene()
    got: list[ToolResult] = []

    async def two(_: TaskSpec, io: DeviceIO) -> Outcome:
        calls = [ToolCall("a", {"x": 1}), ToolCall("b", kind="data_collection")]
        got.extend(await io.call(calls, agent="AppAgent", process="p.exe", root="EXCEL.EXE"))
        return Outcome(True)

    running = scene.start(two)
    command = await scene.said("command")
    assert command == {
        "type": "command", "status": "continue", "agent_name": "AppAgent", "process_name": "p.exe",
        "root_name": "EXCEL.EXE", "session_id": "s", "task_name": "t", "response_id": "id0",
        "actions": [
            {"tool_name": "a", "tool_type": "action", "parameters": {"x": 1}, "call_id": "id1"},
            {"tool_name": "b", "tool_type": "data_collection", "parameters": {}, "call_id": "id2"},
        ],
    }  # fmt: skip
    scene.answer(
        command,
        {"call_id": "id1", "status": "failure", "error": "no"},
        {"call_id": "id2", "status": "skipped", "namespace": "n"},
    )
    await running
    assert got == [
        ToolResult("failure", None, "no", None, "id1"),
        ToolResult("skipped", None, None, "n", "id2"),
    ]
    assert not got[0].ok
    assert [note["event"] for note in scene.notes] == ["command", "results"]
    assert scene.notes[0]["calls"] == [{"call_id": "id1", "tool": "a"}, {"call_id": "id2", "tool": "b"}]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([{"call_id": "id2", "result": 2}, {"call_id": "id1", "result": 1}], [1, 2]),
        ([{"result": 1}, {"result": 2}], [1, 2]),
        ([{"call_id": "other", "result": 1}, {"call_id": "id2", "result": 2}], [1, 2]),
        ([{"call_id": "id1", "result": 1}], [1, None]),
        ([{"call_id": "id2", "result": 2}], [None, 2]),
        ([], [None, None]),
        ([{"result": 1}, {"result": 2}, {"result": 3}], [1, 2]),
    ],
)
async def test_results_find_their_calls(results: list[dict[str, Any]], expected: list[Any]) -> None:
    scene = Scene()

    async def two(_: TaskSpec, io: DeviceIO) -> Outcome:
        found = await io.call([ToolCall("a"), ToolCall("b")], agent="A")
        return Outcome(True, [result.result for result in found])

    running = scene.start(two)
    scene.answer(await scene.said("command"), *results)
    assert (await running).output == expected


async def test_no_calls_are_no_command() -> None:
    scene = Scene()

    async def none(_: TaskSpec, io: DeviceIO) -> Outcome:
        return Outcome(True, await io.call([], agent="A"))

    assert (await scene.start(none)).output == []
    assert scene.wire.sent == []


async def test_answers_that_nobody_waits_for_are_dropped() -> None:
    scene = Scene()
    running = scene.start(one_command)
    command = await scene.said("command")
    scene.answer({"response_id": None}, {"result": "none"})
    scene.answer({"response_id": "unknown"}, {"result": "unknown"})
    scene.answer(command, {"result": "another session's"}, session="other")
    scene.answer(command, {"result": "right"}, session=None)
    scene.answer(command, {"result": "a second time"})
    assert await running == Outcome(True, "right")
    scene.answer(command, {"result": "late"})


async def test_a_device_that_does_not_answer_fails_the_session() -> None:
    scene = Scene(BRIEF)
    assert await scene.start(one_command) == Outcome(False, error="The device did not answer a command within 0.05 s")


async def test_a_runner_may_go_on_after_a_command_timed_out() -> None:
    scene = Scene(BRIEF)

    async def again(task: TaskSpec, io: DeviceIO) -> Outcome:
        with pytest.raises(CommandTimeout):
            await io.call([ToolCall("hangs")], agent="A")
        return await one_command(task, io)

    running = scene.start(again)
    late = await scene.said("command")
    second = await scene.said("command", 2)
    scene.answer(late, {"result": "late"})
    scene.answer(second, {"result": "right"})
    assert (await running).output == "right"


async def test_an_error_that_answers_a_command_fails_it_at_once() -> None:
    scene = Scene()
    running = scene.start(one_command)
    command = await scene.said("command")
    scene.session.troubled(Troubled("s", None, "something else"))
    scene.session.troubled(Troubled("s", command["response_id"], "no such agent"))
    assert await running == Outcome(False, error="The device answered with an error: no such agent")


async def test_commands_of_one_session_may_wait_side_by_side() -> None:
    scene = Scene()

    async def both(_: TaskSpec, io: DeviceIO) -> Outcome:
        found = await asyncio.gather(*(io.call([ToolCall(name)], agent="A") for name in "ab"))
        return Outcome(True, [result.result for [result] in found])

    running = scene.start(both)
    first, second = await scene.said("command"), await scene.said("command", 2)
    scene.answer(second, {"result": 2})
    scene.answer(first, {"result": 1})
    assert (await running).output == [1, 2]


async def test_what_is_no_json_never_leaves() -> None:
    scene = Scene()

    async def wrong(_: TaskSpec, io: DeviceIO) -> Outcome:
        await io.call([ToolCall("a", {"x": object()})], agent="A")
        return Outcome(True)

    with pytest.raises(TypeError):
        await scene.start(wrong)
    assert scene.wire.sent == []


# tools


async def test_the_tools_of_a_device() -> None:
    scene = Scene()
    seen: list[list[Tool]] = []

    async def listing(_: TaskSpec, io: DeviceIO) -> Outcome:
        seen.append(await io.list_tools())
        seen.append(await io.list_tools("action"))
        return Outcome(True)

    running = scene.start(listing)
    full = {"tool_key": "action::a", "tool_name": "a", "namespace": "N", "tool_type": "action", "title": None,
            "description": "d", "input_schema": {"type": "object"}, "meta": None}  # fmt: skip
    bare = {"tool_name": "b", "tool_type": "data_collection", "description": None, "input_schema": None}
    rows = [full, bare, {"tool_name": 7}, "nonsense"]
    first = await scene.said("command")
    assert first["actions"][0] == {
        "tool_name": "list_tools", "tool_type": "action", "parameters": {}, "call_id": "id1",
    }  # fmt: skip
    assert first["agent_name"] == "LinuxAgent"
    scene.answer(first, {"result": rows})
    second = await scene.said("command", 2)
    assert second["actions"][0]["parameters"] == {"tool_type": "action"}
    scene.answer(second, {"result": rows})
    await running
    a = Tool("a", "action", "N", "d", {"type": "object"})
    assert seen == [[a, Tool("b", "data_collection")], [a]]


@pytest.mark.parametrize("result", [{"status": "failure", "error": "no"}, {"result": "text"}, {"result": None}])
async def test_a_device_that_lists_no_tools(result: dict[str, Any]) -> None:
    scene = Scene()

    async def listing(_: TaskSpec, io: DeviceIO) -> Outcome:
        with pytest.raises(CommandFailed, match="does not list its tools"):
            await io.list_tools()
        return Outcome(True)

    running = scene.start(listing)
    scene.answer(await scene.said("command"), result)
    assert (await running).ok


@pytest.mark.parametrize(
    ("platform", "agent"),
    [("windows", "HostAgent"), ("linux", "LinuxAgent"), ("mobile", "MobileAgent"), ("plan9", "LinuxAgent")],
)
async def test_the_tool_set_goes_with_the_platform(platform: str, agent: str) -> None:
    spec = TaskSpec(session_id="s", task_name="t", request="r", client_id="d1", platform=platform)
    scene = Scene(spec=spec)

    async def listing(_: TaskSpec, io: DeviceIO) -> Outcome:
        return Outcome(True, len(await io.list_tools()))

    running = scene.start(listing)
    command = await scene.said("command")
    assert command["agent_name"] == agent
    scene.answer(command, {"result": []})
    await running


# the end before its time


async def hang(_: TaskSpec, __: DeviceIO) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def stubborn(_: TaskSpec, __: DeviceIO) -> Outcome:
    """Ends with an outcome of its own when it is cancelled."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return Outcome(True, "half", rounds=[{"request": "r", "result": "1"}], usage={"tokens": 7})
    raise AssertionError("nobody sets it")


async def test_a_session_that_takes_too_long_is_ended() -> None:
    assert await Scene(BRIEF).start(hang) == Outcome(False, error="The session was not over after 0.2 s")


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        (hang, Outcome(False, error="enough")),
        (stubborn, Outcome(False, "half", "enough", [{"request": "r", "result": "1"}], {"tokens": 7})),
    ],
)
async def test_a_stopped_session_keeps_what_its_runner_gives(play: Play, expected: Outcome) -> None:
    scene = Scene()
    running = scene.start(play)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    scene.session.stop("enough")
    scene.session.stop("a second reason")
    assert await running == expected


async def test_a_session_that_is_stopped_while_its_assignment_waits() -> None:
    scene = Scene()
    running = scene.start(echo, assign=True)
    await scene.said("task")
    scene.session.stop("enough")
    assert await running == Outcome(False, error="enough")
    assert scene.session.not_taken
    assert not scene.session.echoes(echo_of())


GONE = "Target device d1 disconnected"


async def test_a_device_that_leaves_before_it_echoes() -> None:
    scene = Scene()
    running = scene.start(echo, assign=True)
    await scene.said("task")
    scene.session.device_left()
    assert await running == Outcome(False, error=GONE)


async def test_a_device_that_leaves_during_a_command_lets_the_runner_sum_up() -> None:
    scene = Scene()

    async def careful(_: TaskSpec, io: DeviceIO) -> Outcome:
        try:
            await io.call([ToolCall("a")], agent="A")
        except DeviceGone:
            await asyncio.sleep(0.02)  # it tells others of what it has
            return Outcome(False, "so far", usage={"tokens": 3})
        raise AssertionError("the device is gone")

    running = scene.start(careful)
    await scene.said("command")
    scene.session.device_left()
    assert await running == Outcome(False, "so far", GONE, [], {"tokens": 3})


async def test_a_device_that_leaves_while_nothing_is_asked_of_it() -> None:
    scene = Scene()
    running = scene.start(hang)
    await asyncio.sleep(0)
    scene.session.device_left()
    async with asyncio.timeout(1):  # at once, not after a time of grace
        assert await running == Outcome(False, error=GONE)


async def test_after_the_device_left_every_call_fails() -> None:
    scene = Scene()
    scene.session.device_left()
    for call in (
        lambda: scene.session.call([ToolCall("a")], agent="A"),
        scene.session.list_tools,
        scene.session.hand_over,
    ):  # type: Callable[[], Awaitable[object]]
        with pytest.raises(DeviceGone):
            await call()


async def test_a_stopped_session_commands_no_more() -> None:
    scene = Scene()
    scene.session.stop("enough")
    with pytest.raises(SessionError, match="enough"):
        await scene.session.call([ToolCall("a")], agent="A")


async def test_a_runner_that_breaks_is_heard() -> None:
    async def broken(_: TaskSpec, __: DeviceIO) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Scene().start(broken)


# devices that carry out requests themselves


async def handing(_: TaskSpec, io: DeviceIO) -> Outcome:
    assert isinstance(io, DeviceSession)
    return await io.hand_over()


@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("echoed", [True, False])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"result": {"a": 1}}, Outcome(True, {"a": 1})),
        ({"status": "ok"}, Outcome(True, None)),
        ({"session_id": None, "task_name": "t", "result": 7}, Outcome(True, 7)),
        ({"action_results": [Result(status="success", result="x")]}, Outcome(True, ["x"])),
        ({"status": "failed", "error": "broke", "result": 1}, Outcome(False, 1, "broke")),
        ({"status": "failed"}, Outcome(False, None, "The device did not say why it failed")),
    ],
)
async def test_a_request_handed_over_whole(keys: dict[str, Any], expected: Outcome, echoed: bool, assign: bool) -> None:
    scene = Scene()
    running = scene.start(handing, assign=assign)
    await scene.said("task")
    if echoed:
        assert scene.session.echoes(echo_of())
    assert scene.session.ended_by_device(end(**keys))
    assert not scene.session.ended_by_device(end(**keys))
    assert await running == expected
    assert len(scene.all("task")) == 1


@pytest.mark.parametrize(
    "keys", [{"session_id": "other"}, {"session_id": None}, {"session_id": None, "task_name": "u"}]
)
async def test_an_end_that_is_not_this_session_s(keys: dict[str, Any]) -> None:
    scene = Scene()
    running = scene.start(handing)
    await scene.said("task")
    assert not scene.session.ended_by_device(end(**keys))
    assert scene.session.ended_by_device(end())
    await running


async def test_nobody_ends_a_session_that_the_server_plans() -> None:
    scene = Scene()
    running = scene.start(one_command)
    command = await scene.said("command")
    assert not scene.session.ended_by_device(end())
    scene.answer(command, {"result": 1})
    await running


async def test_a_device_that_leaves_with_a_request() -> None:
    scene = Scene()
    running = scene.start(handing)
    await scene.said("task")
    assert scene.session.echoes(echo_of())
    scene.session.device_left()
    assert await running == Outcome(False, error=GONE)


# the end


@pytest.mark.parametrize(
    ("outcome", "rounds"),
    [
        (Outcome(True, "Linux"), [{"request": "uname", "result": "Linux"}]),
        (Outcome(True, "x", rounds=[{"request": "a", "result": "b"}]), [{"request": "a", "result": "b"}]),
        (Outcome(False, None, "broke"), [{"request": "uname", "result": None, "error": "broke"}]),
        (
            Outcome(False),
            [{"request": "uname", "result": None, "error": "The session failed without saying why"}],
        ),
    ],
)
async def test_both_ends_hear_the_same(outcome: Outcome, rounds: list[dict[str, Any]]) -> None:
    scene = Scene(requester=True)
    scene.session.tell(with_rounds(SPEC, outcome), "e-1", "now")
    await soon(lambda: scene.wire.sent and scene.asker.sent)
    [end] = scene.wire.sent
    assert scene.asker.sent == [end]
    assert (end["type"], end["session_id"], end["response_id"]) == ("task_end", "s", "e-1")
    assert end["status"] == ("completed" if outcome.ok else "failed")
    assert end["result"] == rounds
    assert ("error" in end) == (not outcome.ok)


async def test_a_result_that_no_message_can_carry_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.faces.ufo.sessions.FRAME_LIMIT", 1000)
    scene = Scene()
    scene.session.tell(with_rounds(SPEC, Outcome(True, "x" * 2000)), "e-1", "now")
    await soon(lambda: scene.wire.sent)
    assert scene.wire.sent[0]["status"] == "completed"
    assert "more than a message may have" in scene.wire.sent[0]["error"]


async def test_a_command_that_no_message_can_carry_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treadle.faces.ufo.sessions.FRAME_LIMIT", 1000)
    scene = Scene()
    with pytest.raises(CommandFailed, match="more than a message may have"):
        await scene.session.call([ToolCall("a", {"x": "y" * 2000})], agent="A")

"""The conversation with the server as a screenplay: this frame goes in, that must come out. Frames as documented."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from treadle.device.dialogue import ENDING, CallOff, Dialogue, Execute, Note, Repeat, Run, Say
from treadle.device.frames import Result, Unreadable, decode, encode


def dialogue(*, executes: bool = False) -> Dialogue:
    ids = count(1)
    return Dialogue(
        "lab-pc-3",
        {"platform": "linux"},
        executes=executes,
        stamp=lambda: "2026-01-05T09:00:00+00:00",
        new_id=lambda: f"id-{next(ids)}",
    )


def frame(**keys: Any) -> Any:
    return decode(json.dumps(keys))


TASK = {"type": "task", "status": "continue", "user_request": "Which OS?", "task_name": "t1", "session_id": "S1"}
COMMAND = {
    "type": "command",
    "status": "continue",
    "agent_name": "LinuxAgent",
    "process_name": "",
    "root_name": "",
    "session_id": "night@t1",
    "task_name": "galaxy_night_t1",
    "response_id": "r-2",
    "actions": [
        {"tool_name": "execute_command", "tool_type": "action", "parameters": {"command": "uname"}, "call_id": "c-2"}
    ],
}


def test_registration_says_what_the_stock_device_says() -> None:
    info = {"device_id": "lab-pc-3", "platform": "linux"}
    said = json.loads(encode(dialogue().registration(info)))
    assert {key: value for key, value in said.items() if value is not None} == {
        "type": "register",
        "status": "ok",
        "client_type": "device",
        "client_id": "lab-pc-3",
        "timestamp": "2026-01-05T09:00:00+00:00",
        "metadata": {
            "platform": "linux",
            "registration_time": "2026-01-05T09:00:00+00:00",
            "system_info": info,
        },
    }


def test_a_device_that_executes_says_so() -> None:
    metadata = dialogue(executes=True).registration({}).metadata
    assert metadata is not None
    assert metadata["executes_requests"] is True


def test_a_dispatched_task_is_echoed_without_its_session() -> None:
    (effect,) = dialogue().received(frame(**TASK))
    assert isinstance(effect, Say)
    echo = effect.frame
    assert "result" not in json.loads(encode(echo))
    assert (echo.type, echo.status, echo.client_type) == ("task", "continue", "device")
    assert (echo.task_name, echo.request, echo.session_id, echo.target_id) == ("t1", "Which OS?", None, None)


def test_a_device_that_executes_echoes_first_and_executes_once() -> None:
    device = dialogue(executes=True)
    echo, execution = device.received(frame(**TASK))
    assert isinstance(echo, Say)
    assert execution == Execute(("S1", ENDING), "Which OS?", "t1")
    assert [type(effect) for effect in device.received(frame(**TASK))] == [Say]
    assert isinstance(execution, Execute)
    end = device.carried_out(execution, {"output": "Linux"}, None)
    assert (end.type, end.status, end.session_id, end.metadata, end.result) == (
        "task_end", "completed", "S1", {"result": {"output": "Linux"}}, {"output": "Linux"},
    )  # fmt: skip
    assert device.received(frame(**TASK))[1:] == [Repeat(("S1", ENDING))]


def test_a_failed_execution_says_why() -> None:
    device = dialogue(executes=True)
    execution = device.received(frame(**TASK))[1]
    assert isinstance(execution, Execute)
    end = device.carried_out(execution, {}, "no such machine")
    assert (end.status, end.error) == ("failed", "no such machine")


def test_a_server_that_sends_commands_has_not_left_the_request_to_us() -> None:
    device = dialogue(executes=True)
    device.received(frame(**TASK))
    effects = device.received(frame(**{**COMMAND, "session_id": "S1"}))
    assert [type(effect) for effect in effects] == [Note, CallOff, Run]
    more = device.received(frame(**{**COMMAND, "session_id": "S1", "response_id": "r-3"}))
    assert [type(effect) for effect in more] == [Run]


def test_a_command_is_answered_to_its_response_id_and_in_its_status() -> None:
    device = dialogue()
    (run,) = device.received(frame(**COMMAND))
    assert isinstance(run, Run)
    assert [(call.tool_name, call.parameters, call.call_id) for call in run.calls] == [
        ("execute_command", {"command": "uname"}, "c-2")
    ]
    answer = device.answered(run, [Result("success", {"success": True}, call_id="c-2")])
    assert (answer.type, answer.status, answer.session_id) == ("command_results", "continue", "night@t1")
    assert (answer.prev_response_id, answer.client_id, answer.request_id) == ("r-2", "lab-pc-3", "id-1")


def test_a_command_that_comes_again_is_not_run_again() -> None:
    device = dialogue()
    (run,) = device.received(frame(**COMMAND))
    assert isinstance(run, Run)
    assert [type(effect) for effect in device.received(frame(**COMMAND))] == [Note]
    device.answered(run, [])
    assert device.received(frame(**COMMAND)) == [Repeat(run.key)]
    other = device.received(frame(**{**COMMAND, "session_id": "another"}))
    assert [type(effect) for effect in other] == [Run]


def test_what_an_earlier_life_answered_is_repeated() -> None:
    device = dialogue()
    device.recall([("night@t1", "r-r-2")])
    assert device.received(frame(**COMMAND)) == [Repeat(("night@t1", "r-r-2"))]


def test_commands_without_a_response_id_are_all_run() -> None:
    device = dialogue()
    bare = {**COMMAND, "response_id": None}
    assert [type(device.received(frame(**bare))[0]) for _ in range(2)] == [Run, Run]


def test_an_empty_command_is_answered_with_no_results() -> None:
    device = dialogue()
    (run,) = device.received(frame(**{**COMMAND, "actions": []}))
    assert isinstance(run, Run)
    assert run.calls == ()


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_the_end_of_a_session_ends_its_work(status: str) -> None:
    end = frame(type="task_end", status=status, session_id="S1", response_id="e-1", result=[])
    assert dialogue().received(end) == [CallOff("S1")]


def test_an_error_is_noted_and_a_heartbeat_is_nothing() -> None:
    assert dialogue().received(frame(type="error", status="error", error="no")) == [
        Note("the server reports an error", "no")
    ]
    assert dialogue().received(frame(type="heartbeat", status="ok")) == []


@pytest.mark.parametrize(
    "message",
    ["{", "[]", "null", '{"type":"task"}', '{"type":"dance","status":"ok"}', b"\xff\xfe",
     '{"type":"command","status":"continue","actions":[{"parameters":{}}]}'],
)  # fmt: skip
def test_what_is_no_frame_is_told_apart(message: str | bytes) -> None:
    with pytest.raises(Unreadable):
        decode(message)


def test_unknown_keys_and_nulls_are_fine_and_bytes_are_text() -> None:
    read = decode(b'{"type":"heartbeat","status":"ok","later":1,"actions":null,"result":null}')
    assert read.type == "heartbeat"

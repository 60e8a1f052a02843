"""Frames between text and structs: every row of the contract's tables, and what is no frame (spec 3, 4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from treadle.faces.ufo.aip import Unreadable, decode, encode, stamp
from treadle.faces.ufo.frames import ClientFrame, Command, Result, ServerFrame

KEYS = (
    "client_type", "client_id", "target_id", "session_id", "task_name", "request", "action_results", "request_id",
    "prev_response_id", "timestamp", "error", "metadata",
)  # fmt: skip
TYPES = (
    "register", "task", "heartbeat", "command_results", "task_end", "device_info_request", "device_info_response",
    "error",
)  # fmt: skip


def frame(**keys: Any) -> str:
    return json.dumps({"type": "heartbeat", "status": "ok", **keys})


@pytest.mark.parametrize("type", TYPES)
def test_every_type_is_read_and_every_other_key_may_be_null_or_missing(type: str) -> None:
    bare = decode(frame(type=type))
    assert isinstance(bare, ClientFrame)
    assert bare.type == type
    assert decode(frame(type=type, **dict.fromkeys(KEYS))) == bare


@pytest.mark.parametrize("status", ["continue", "completed", "failed", "ok", "error"])
def test_every_status_is_read(status: str) -> None:
    assert decode(frame(status=status)) == ClientFrame(type="heartbeat", status=status)  # type: ignore[arg-type]


def test_unknown_keys_are_ignored_and_binary_is_read_like_text() -> None:
    text = frame(future=1, metadata={"a": [1, None, "ü"]})
    assert decode(text) == decode(text.encode()) == decode(json.dumps(json.loads(text), ensure_ascii=False).encode())
    assert decode(text) == ClientFrame(type="heartbeat", status="ok", metadata={"a": [1, None, "ü"]})


@pytest.mark.parametrize(
    ("given", "role"), [(None, "device"), ("device", "device"), ("constellation", "constellation")]
)
def test_a_client_without_a_type_is_a_device(given: str | None, role: str) -> None:
    found = decode(frame(client_type=given))
    assert isinstance(found, ClientFrame)
    assert found.role == role


@pytest.mark.parametrize("status", ["success", "failure", "skipped", "none"])
def test_results(status: str) -> None:
    found = decode(frame(type="command_results", action_results=[{"status": status}]))
    assert isinstance(found, ClientFrame)
    assert found.action_results == [Result(status=status)]  # type: ignore[arg-type]
    whole = {"status": status, "result": {"a": 1}, "error": "e", "namespace": "n", "call_id": "c"}
    found = decode(frame(type="command_results", action_results=[whole]))
    assert isinstance(found, ClientFrame)
    assert found.action_results == [Result(**whole)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\ud800", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\x00\x01\x02", "not JSON"),
        ('{"type":"heartbeat","status":"\\ud800"}', "Invalid message"),
        ('{"type":"heartbeat","status":"ok","metadata":{"a":' + "[" * 100_000, "nested too deeply"),
        ("[1]", "Expected `object`"),
        ('"x"', "Expected `object`"),
        ("null", "Expected `object`"),
        ('{"type":"heartbeat"}', "missing required field `status`"),
        ('{"status":"ok"}', "missing required field `type`"),
        (frame(type="binary_data"), "Invalid enum value 'binary_data' - at `$.type`"),
        (frame(type="HEARTBEAT"), "Invalid enum value"),
        (frame(type="command"), "Invalid enum value"),
        (frame(status="done"), "Invalid enum value 'done' - at `$.status`"),
        (frame(client_type="robot"), "Invalid enum value 'robot' - at `$.client_type`"),
        (frame(client_id=7), "Expected `str | null`, got `int` - at `$.client_id`"),
        (frame(metadata=[]), "Expected `object | null`, got `array` - at `$.metadata`"),
        (frame(action_results=[{"status": "fine"}]), "Invalid enum value 'fine'"),
        (frame(action_results=[{}]), "missing required field `status`"),
    ],
)
def test_what_is_no_frame_says_why(message: str | bytes, why: str) -> None:
    found = decode(message)
    assert isinstance(found, Unreadable)
    assert why in found.reason


def test_what_the_server_says_has_type_and_status_and_no_nulls() -> None:
    assert encode(ServerFrame(type="heartbeat", status="ok")) == '{"type":"heartbeat","status":"ok"}'
    command = Command(tool_name="t", tool_type="action", parameters={"a": "ü"}, call_id="c")
    whole = ServerFrame(
        type="command", status="continue", agent_name="LinuxAgent", process_name="", root_name="", actions=[command],
        session_id="s", task_name="galaxy/n/t", response_id="r",
    )  # fmt: skip
    assert json.loads(encode(whole)) == {
        "type": "command", "status": "continue", "agent_name": "LinuxAgent", "process_name": "", "root_name": "",
        "actions": [{"tool_name": "t", "tool_type": "action", "parameters": {"a": "ü"}, "call_id": "c"}],
        "session_id": "s", "task_name": "galaxy/n/t", "response_id": "r",
    }  # fmt: skip


def test_what_is_no_json_is_not_said() -> None:
    with pytest.raises(TypeError):
        encode(ServerFrame(type="task_end", status="ok", result=object()))


def test_instants_carry_their_offset() -> None:
    assert stamp(1_767_603_600_100_000) == "2026-01-05T09:00:00.100000+00:00"

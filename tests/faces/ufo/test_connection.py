"""The protocol as a screenplay: what a client says goes in, what has to be done comes out (spec 3 to 6)."""

from __future__ import annotations

from typing import Any

import pytest

from treadle.faces.ufo.aip import Unreadable
from treadle.faces.ufo.connection import (
    Answered,
    Challenge,
    Close,
    Effect,
    EndTold,
    InfoAsked,
    Peer,
    Registration,
    Say,
    TaskAsked,
    Troubled,
    Welcome,
)
from treadle.faces.ufo.frames import ClientFrame, Result, Role, ServerFrame


class Room:
    """Who else is there: ids and what they are; `coming` are those that have an id and are not seen yet."""

    def __init__(self, coming: tuple[str, ...] = (), **roles: Role) -> None:
        self.roles = {name.replace("_", "-"): role for name, role in roles.items()}
        self.coming = coming

    def role(self, client_id: str) -> Role | None:
        return self.roles.get(client_id)

    def taken(self, client_id: str) -> bool:
        return client_id in self.roles or client_id in self.coming


ROOM = Room(d1="device", d2="device", k9="constellation")
EMPTY = Room()
NORMAL, POLICY = 1000, 1008


def said(type: str, **keys: Any) -> ClientFrame:
    status = {"task": "continue", "command_results": "continue", "error": "error"}.get(type, "ok")
    return ClientFrame(**{"type": type, "status": status, **keys})


def device(id: str = "d0", **metadata: Any) -> Peer:
    """A registered device."""
    peer = Peer()
    [welcome] = peer.received(said("register", client_id=id, client_type="device", metadata=metadata or None), ROOM)
    assert isinstance(welcome, Welcome)
    return peer


def constellation(target: str | None = "d1") -> Peer:
    """A registered constellation."""
    peer = Peer()
    frame = said("register", client_id="k@d1", client_type="constellation", target_id=target)
    [welcome] = peer.received(frame, ROOM)
    assert isinstance(welcome, Welcome)
    return peer


def told(effects: list[Effect]) -> list[tuple[str, str]]:
    """Type and error of what is sent, and the close."""
    rows = []
    for effect in effects:
        if isinstance(effect, Say):
            rows.append((effect.frame.type, effect.frame.error or ""))
        else:
            assert isinstance(effect, Close)
            rows.append(("close", str(effect.code)))
    return rows


# registration (5.1, 5.2)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, Registration(client_id="x", role="device")),
        ({"client_type": "device", "target_id": "d1"}, Registration(client_id="x", role="device")),
        ({"client_type": "constellation"}, Registration(client_id="x", role="constellation")),
        ({"client_type": "constellation", "target_id": ""}, Registration(client_id="x", role="constellation")),
        (
            {"client_type": "constellation", "target_id": "d1"},
            Registration(client_id="x", role="constellation", target="d1"),
        ),
        # only the top level decides the role
        (
            {"metadata": {"type": "constellation_client"}},
            Registration(client_id="x", role="device", metadata={"type": "constellation_client"}),
        ),
    ],
)
def test_who_registers_is_welcome(keys: dict[str, Any], expected: Registration) -> None:
    assert Peer().received(said("register", **{"client_id": "x", **keys}), ROOM) == [Welcome(expected)]


@pytest.mark.parametrize(
    ("metadata", "platform"),
    [
        (None, "windows"),
        ({}, "windows"),
        ({"platform": "linux"}, "linux"),
        ({"platform": " Linux "}, "linux"),
        ({"platform": "MOBILE"}, "mobile"),
        ({"platform": "plan9"}, "plan9"),
        ({"platform": None}, "windows"),
        ({"platform": 7}, "windows"),
        ({"platform": None, "system_info": {"platform": "Linux"}}, "linux"),
        ({"system_info": {"platform": "linux"}}, "linux"),
        ({"platform": "mobile", "system_info": {"platform": "linux"}}, "mobile"),
        ({"system_info": "none was collected"}, "windows"),
    ],
)
def test_the_platform_is_the_registration_s_else_the_system_s(metadata: dict[str, Any] | None, platform: str) -> None:
    peer = Peer()
    peer.received(said("register", client_id="x", metadata=metadata), ROOM)
    assert peer.registration is not None
    assert peer.registration.platform == platform


def test_system_information_is_kept_apart_from_the_rest() -> None:
    peer = device("x", platform="linux", system_info={"cpu_count": 8}, tags=["a"])
    assert peer.registration is not None
    assert peer.registration.system_info == {"cpu_count": 8}
    assert peer.registration.metadata == {"platform": "linux", "tags": ["a"]}


@pytest.mark.parametrize("id", ["night-shift@lab-pc-3", "a/b", "ü", "x" * 256, "with space"])
def test_ids_are_free(id: str) -> None:
    assert isinstance(Peer().received(said("register", client_id=id), ROOM)[0], Welcome)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (said("heartbeat", client_id="x"), POLICY),
        (said("task", client_id="x", request="r"), POLICY),
        (said("command_results", client_id="x"), POLICY),
        (said("task_end"), POLICY),
        (said("device_info_request", target_id="d1"), POLICY),
        (said("error", error="e"), POLICY),
        (said("register"), POLICY),
        (said("register", client_id=""), POLICY),
        (said("register", client_id="x" * 257), POLICY),
        (said("register", client_id="a\nb"), POLICY),
        (said("register", client_id="a\0b"), POLICY),
        (said("register", client_id="x", client_type="constellation", target_id="nobody"), NORMAL),
        (said("register", client_id="x", client_type="constellation", target_id="k9"), NORMAL),
    ],
)
def test_who_does_not_register_as_it_should_is_told_and_closed(frame: ClientFrame, code: int) -> None:
    effects = Peer().received(frame, ROOM)
    assert [row[0] for row in told(effects)] == ["error", "close"]
    assert effects[1] == Close(code, effects[1].reason)  # type: ignore[union-attr]
    assert told(effects)[0][1]


def test_a_bad_first_message_is_told_and_another_may_follow() -> None:
    peer = Peer()
    assert told(peer.received(Unreadable("no JSON"), ROOM)) == [("error", "no JSON")]
    assert isinstance(peer.received(said("register", client_id="x"), ROOM)[0], Welcome)


def test_who_does_not_register_in_time_is_told_and_closed() -> None:
    assert [row[0] for row in told(Peer().overdue())] == ["error", "close"]
    assert Peer().overdue()[1] == Close(POLICY, "registration did not come in time")


# one id twice (6.3)


def test_a_taken_id_challenges_its_holder() -> None:
    for room in (ROOM, Room(coming=("d1",))):
        assert Peer().received(said("register", client_id="d1"), room) == [Challenge("d1")]


def test_a_holder_that_lives_keeps_its_id() -> None:
    peer = Peer()
    peer.received(said("register", client_id="d1"), ROOM)
    effects = peer.challenged(True, ROOM)
    assert told(effects) == [("error", "Client d1 is connected already"), ("close", "1000")]
    assert peer.registration is None


def test_a_holder_that_is_dead_makes_room() -> None:
    peer = Peer()
    peer.received(said("register", client_id="d1"), ROOM)
    [welcome] = peer.challenged(False, EMPTY)
    assert isinstance(welcome, Welcome)
    assert welcome.registration.client_id == "d1"


def test_who_is_overtaken_meanwhile_challenges_again() -> None:
    peer = Peer()
    peer.received(said("register", client_id="d1"), ROOM)
    assert peer.challenged(False, Room(coming=("d1",))) == [Challenge("d1")]


def test_a_constellation_whose_target_left_during_the_challenge_is_refused() -> None:
    peer = Peer()
    peer.received(said("register", client_id="k9", client_type="constellation", target_id="d1"), ROOM)
    assert [row[0] for row in told(peer.challenged(False, EMPTY))] == ["error", "close"]


# identity (6.2)


@pytest.mark.parametrize("peer", [device, constellation])
@pytest.mark.parametrize("type", ["heartbeat", "task", "command_results", "device_info_request", "error", "task_end"])
def test_nobody_speaks_for_another(peer: Any, type: str) -> None:
    role = "device" if peer is device else "constellation"
    effects = peer().received(said(type, client_id="other", client_type=role, request="r", target_id="d1"), ROOM)
    assert [row[0] for row in told(effects)] == ["error"]


@pytest.mark.parametrize("type", ["task", "command_results", "device_info_request"])
@pytest.mark.parametrize(
    ("peer", "role"), [(device, "constellation"), (constellation, "device"), (constellation, None)]
)
def test_a_role_is_kept_where_it_matters(peer: Any, role: Role | None, type: str) -> None:
    effects = peer().received(said(type, client_type=role, request="r", target_id="d1"), ROOM)
    assert [row[0] for row in told(effects)] == ["error"]
    assert "is registered as a" in told(effects)[0][1]


@pytest.mark.parametrize("role", [None, "device", "constellation"])
def test_heartbeats_are_acknowledged_whoever_they_say_they_are(role: Role | None) -> None:
    """Stock constellations send theirs as if they were devices."""
    for peer, id in ((device(), "d0"), (constellation(), "k@d1")):
        for named in (id, None, ""):
            frame = said("heartbeat", client_type=role, client_id=named)
            assert peer.received(frame, ROOM) == [Say(ServerFrame(type="heartbeat", status="ok"))]


def test_a_second_registration_is_refused_and_changes_nothing() -> None:
    peer = device()
    before = peer.registration
    assert [row[0] for row in told(peer.received(said("register", client_id="d7"), ROOM))] == ["error"]
    assert peer.registration is before


def test_what_cannot_be_read_is_told_and_the_socket_stays() -> None:
    peer = device()
    assert told(peer.received(Unreadable("no JSON"), ROOM)) == [("error", "no JSON")]
    assert told(peer.received(said("heartbeat"), ROOM)) == [("heartbeat", "")]


# what means nothing, and what is passed on


def test_results_errors_and_ends_are_passed_on() -> None:
    peer = device()
    results = [Result(status="success", call_id="c")]
    frame = said("command_results", session_id="s", prev_response_id="r", action_results=results)
    assert peer.received(frame, ROOM) == [Answered("s", "r", results)]
    assert peer.received(said("command_results"), ROOM) == [Answered(None, None, [])]
    frame = said("error", session_id="s", prev_response_id="r", error="broke")
    assert peer.received(frame, ROOM) == [Troubled("s", "r", "broke")]
    assert peer.received(said("error"), ROOM) == [Troubled(None, None, "unknown error")]
    end = said("task_end", session_id="s")
    assert peer.received(end, ROOM) == [EndTold(end)]


def test_device_info_response_is_accepted_and_means_nothing() -> None:
    assert device().received(said("device_info_response", metadata={"a": 1}), ROOM) == []


# tasks (5.3, 5.4)


@pytest.mark.parametrize("target", [None, "", "d0"])
def test_a_device_asks_for_itself(target: str | None) -> None:
    frame = said("task", request="do", task_name="t", target_id=target, metadata={"a": 1})
    expected = TaskAsked(target="d0", request="do", task_name="t", metadata={"a": 1})
    assert device().received(frame, ROOM) == [expected]


def test_an_echo_may_have_no_text_and_no_session() -> None:
    assert device().received(said("task", task_name="t"), ROOM) == [TaskAsked(target="d0", request="", task_name="t")]


def test_a_constellation_s_session_id_and_name_stay_as_they_are() -> None:
    frame = said(
        "task", client_type="constellation", target_id="d1", request="do", session_id="night@t1",
        task_name="galaxy/night/t1",
    )  # fmt: skip
    expected = TaskAsked(target="d1", request="do", session_id="night@t1", task_name="galaxy/night/t1")
    assert constellation().received(frame, ROOM) == [expected]


@pytest.mark.parametrize(
    ("peer", "keys", "why"),
    [
        (device, {"target_id": "d1"}, "may only ask for tasks on itself"),
        (device, {"target_id": "nobody"}, "may only ask for tasks on itself"),
        (constellation, {}, "needs a target_id"),
        (constellation, {"target_id": ""}, "needs a target_id"),
        (constellation, {"target_id": "nobody"}, "not connected"),
        (constellation, {"target_id": "k9"}, "not a device"),
        (constellation, {"target_id": "k@d1"}, "not connected"),
        (constellation, {"target_id": "d1", "request": ""}, "Empty task content"),
        (constellation, {"target_id": "d1", "request": None}, "Empty task content"),
    ],
)
def test_a_refused_task_is_ended_for_who_waits_for_its_session(peer: Any, keys: dict[str, Any], why: str) -> None:
    role = "device" if peer is device else "constellation"
    asked = {"client_type": role, "request": "do", "task_name": "t", **keys}
    alone = peer().received(said("task", **asked), ROOM)
    assert [row[0] for row in told(alone)] == ["error"]
    assert why in told(alone)[0][1]
    error, end = peer().received(said("task", session_id="s", **asked), ROOM)
    assert error.frame.session_id == end.frame.session_id == "s"
    assert error.frame.task_name == end.frame.task_name == "t"
    assert (error.frame.type, error.frame.status) == ("error", "error")
    assert (end.frame.type, end.frame.status) == ("task_end", "failed")
    assert error.frame.error == end.frame.error


@pytest.mark.parametrize(
    "keys", [{"session_id": "a\0b"}, {"task_name": "\0"}, {"request": "a\0"}, {"task_name": "x" * 1025}]
)
def test_a_task_that_no_store_can_hold_is_refused(keys: dict[str, str]) -> None:
    frame = said("task", **{"client_type": "constellation", "target_id": "d1", "request": "do", **keys})
    assert [row[0] for row in told(constellation().received(frame, ROOM))] == ["error"]


# device information (5.6)


@pytest.mark.parametrize(("target", "asked"), [("d1", "d1"), (None, "d1"), (None, "d2"), (None, "nobody")])
def test_a_constellation_asks_about_a_device(target: str | None, asked: str) -> None:
    frame = said("device_info_request", client_type="constellation", target_id=asked, request_id="q")
    assert constellation(target).received(frame, ROOM) == [InfoAsked(asked, "q")]


@pytest.mark.parametrize(
    ("peer", "target", "why"),
    [
        (device, "d1", "Only constellations"),
        (constellation, None, "needs a target_id"),
        (constellation, "d2", "only ask about its target d1"),
    ],
)
def test_who_may_not_ask_about_a_device_is_told(peer: Any, target: str | None, why: str) -> None:
    role = "device" if peer is device else "constellation"
    frame = said("device_info_request", client_type=role, target_id=target, request_id="q")
    [effect] = peer().received(frame, ROOM)
    assert (effect.frame.type, effect.frame.status, effect.frame.response_id) == ("error", "error", "q")
    assert why in effect.frame.error

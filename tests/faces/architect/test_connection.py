"""The protocol as a screenplay: what the client says, and what has to be done (spec 3.1, 3.5, 3.6)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from treadle.faces.architect.connection import (
    BURST,
    FLOODED,
    IN_FLIGHT,
    MISTAKES,
    RATE,
    Close,
    Effect,
    Peer,
    Perform,
    Say,
)
from treadle.faces.architect.frames import Outcome

DONE = Outcome({"done": True})


def ask(action: str = "ping", token: str | None = None, **parameters: Any) -> str:
    frame: dict[str, Any] = {"action": action, "parameters": parameters}
    return json.dumps(frame if token is None else {**frame, "idempotence": token})


def said(effects: list[Effect]) -> list[dict[str, Any]]:
    assert all(isinstance(effect, Say) for effect in effects)
    return [json.loads(effect.frame) for effect in effects if isinstance(effect, Say)]


def begun(effects: list[Effect]) -> Perform:
    (effect,) = effects
    assert isinstance(effect, Perform)
    return effect


def test_a_request_is_performed_and_answered_once() -> None:
    peer = Peer(0.0)
    first = begun(peer.received(ask("a", "t1"), 0.0, 0))
    second = begun(peer.received(ask("b", "t2"), 0.0, 0))
    assert said(peer.finished(second.number, DONE))[0]["idempotence"] == "t2"  # in any order
    assert said(peer.finished(first.number, DONE))[0]["idempotence"] == "t1"
    assert peer.finished(first.number, DONE) == []
    assert peer.in_flight == 0


def test_a_token_that_is_repeated_while_it_runs_gets_one_reply() -> None:
    peer = Peer(0.0)
    first = begun(peer.received(ask("a", "t", x=1), 0.0, 0))
    assert peer.received(ask("a", "t", x=1), 0.0, 0) == []
    (told,) = said(peer.received(ask("a", "t", x=2), 0.0, 5))
    assert told["event"] == "protocol.error"
    assert told["parameters"]["error"] == "idempotence_conflict"
    assert "idempotence" not in told
    assert len(said(peer.finished(first.number, DONE))) == 1
    begun(peer.received(ask("a", "t", x=1), 0.0, 0))  # afterwards it is a request again


def test_a_request_without_a_token_is_answered_without_one() -> None:
    peer = Peer(0.0)
    (told,) = said(peer.finished(begun(peer.received(ask(), 0.0, 0)).number, DONE))
    assert "idempotence" not in told


def test_so_many_at_a_time() -> None:
    peer = Peer(0.0)
    numbers = [begun(peer.received(ask("a", f"t{n}"), 0.0, 0)).number for n in range(IN_FLIGHT)]
    (told,) = said(peer.received(ask("a", "more"), 0.0, 0))
    assert (told["idempotence"], told["parameters"]["error"]) == ("more", "limit_exceeded")
    peer.finished(numbers[0], DONE)
    begun(peer.received(ask("a", "more"), 0.0, 0))


def test_so_many_a_second() -> None:
    peer = Peer(0.0)

    def answer(now: float) -> list[Effect]:
        effects = peer.received(ask(), now, 0)
        return peer.finished(effects[0].number, DONE) if effects and isinstance(effects[0], Perform) else effects

    codes = [said(answer(0.0))[0]["parameters"].get("error") for _ in range(BURST + 1)]
    assert codes == [None] * BURST + ["rate_limited"]
    assert "error" not in said(answer(3 / RATE))[0]["parameters"]
    for _ in range(FLOODED - 10):
        said(answer(0.1))
    last = [answer(0.1) for _ in range(20)]
    assert [Close(4429, "too many requests")] in last
    assert peer.received(ask(), 100.0, 0) == []


def test_repeating_a_running_token_for_ever_is_a_flood() -> None:
    peer = Peer(0.0)
    begun(peer.received(ask("a", "t"), 0.0, 0))
    assert [peer.received(ask("a", "t"), 0.0, 0) for _ in range(BURST + FLOODED)][-1] == [
        Close(4429, "too many requests")
    ]


def test_mistakes() -> None:
    peer = Peer(0.0)
    (told,) = said(peer.received("{", 0.0, 5))
    assert (told["event"], told["date"], told["parameters"]["error"]) == ("protocol.error", 5, "invalid_json")
    (told,) = said(peer.received('{"idempotence":"t"}', 0.0, 5))
    assert (told["idempotence"], told["status"], told["parameters"]["error"]) == ("t", "error", "invalid_frame")
    for _ in range(MISTAKES - 3):
        said(peer.received("{", 0.0, 5))
    assert said(peer.received("{", 100.0, 5))  # the others are long ago
    last: list[Effect] = []
    for _ in range(MISTAKES):
        last = peer.received("{", 100.0, 5) or last
    assert last[-1] == Close(1008, "too many unreadable frames")


def test_a_mistake_never_answers_for_a_running_request() -> None:
    peer = Peer(0.0)
    running = begun(peer.received(ask("a", "t"), 0.0, 0))
    (told,) = said(peer.received('{"idempotence":"t"}', 0.0, 0))
    assert "idempotence" not in told
    assert len(said(peer.finished(running.number, DONE))) == 1


def test_binary_frames() -> None:
    peer = Peer(0.0)
    assert peer.received(b"{}", 0.0, 0) == [Close(1003, "frames are text")]


def test_leaving_answers_what_is_pending() -> None:
    peer = Peer(0.0)
    running = begun(peer.received(ask("a", "t"), 0.0, 0))
    (told,) = said(peer.leave())
    assert (told["idempotence"], told["parameters"]["error"]) == ("t", "shutting_down")
    assert peer.finished(running.number, DONE) == []
    (told,) = said(peer.received(ask("a", "u"), 0.0, 0))
    assert told["parameters"]["error"] == "shutting_down"


frames = st.sampled_from(
    [ask("a", "t1"), ask("a", "t1", x=1), ask("b", "t2"), ask("c"), "{", "[]", '{"idempotence":"t1"}', '{"action":1}']
)


@given(st.lists(frames | st.integers(0, 5), max_size=60))
def test_at_most_one_reply_for_each_request_of_a_token(moves: list[str | int]) -> None:
    """Whatever comes in whatever order: replies never outnumber requests, and none comes while its twin is pending."""
    peer = Peer(0.0)
    running: list[Perform] = []
    asked: dict[str, int] = {}
    answered: dict[str, int] = {}
    for move in moves:
        if isinstance(move, int):
            if not running:
                continue
            effects = peer.finished(running.pop(move % len(running)).number, DONE)
        else:
            token = json.loads(move).get("idempotence") if move.startswith('{"') else None
            if token:
                asked[token] = asked.get(token, 0) + 1
            effects = peer.received(move, 0.0, 0)
        for effect in effects:
            if isinstance(effect, Perform):
                running.append(effect)
            elif isinstance(effect, Say):
                frame = json.loads(effect.frame)
                assert isinstance(frame, dict)
                assert ("event" in frame) != ("status" in frame)
                assert not ("event" in frame and "idempotence" in frame)
                token = frame.get("idempotence")
                if token:
                    answered[token] = answered.get(token, 0) + 1
                    assert answered[token] <= asked[token]
                    assert token not in [each.request.token for each in running]

"""Every core error has its words here, over HTTP and in a reply (spec 2.1, 3.4)."""

from __future__ import annotations

import inspect

import pytest

from treadle.core import errors as core
from treadle.core.errors import FabricError
from treadle.faces.architect.errors import ERRORS, Speller

WORDS = {
    "invalid_json", "invalid_frame", "unknown_action", "missing_parameters", "invalid_parameters", "permission_denied",
    "not_found", "already_exists", "conflict", "busy", "too_large", "limit_exceeded", "rate_limited", "path_forbidden",
    "not_running", "spawn_failed", "timeout", "unsupported", "shutting_down", "internal", "idempotence_conflict",
}  # fmt: skip
ONLY_HTTP = {"unauthorized", "banned", "upgrade_required"}
CORE = [each for _, each in inspect.getmembers(core, inspect.isclass) if issubclass(each, FabricError)]


def made(kind: type[FabricError]) -> FabricError:
    if issubclass(kind, core.NotFound):
        return kind("Task", "t")
    if issubclass(kind, core.TooMany):
        return kind(retry_after=3)
    return kind()


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.__name__)
def test_every_core_error_has_a_row(kind: type[FabricError]) -> None:
    assert kind in ERRORS
    outcome = Speller().outcome(made(kind), "r1")
    assert not outcome.ok
    assert outcome.parameters["error"] in WORDS
    assert outcome.parameters["message"]


def test_only_words_of_the_contract() -> None:
    assert {word for _, word in ERRORS.values()} <= WORDS | ONLY_HTTP


@pytest.mark.parametrize("kind", [core.StoreFull, core.TooMany, core.Unreachable])
def test_what_may_be_tried_again_is_not_kept(kind: type[FabricError]) -> None:
    assert not Speller().outcome(made(kind), "r1").keep


def test_an_answer_that_never_came_is_kept() -> None:
    assert Speller().outcome(core.Unanswered(), "r1").keep

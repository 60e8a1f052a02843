"""Arguments that settings add, and their secrets."""

from __future__ import annotations

import pytest

from treadle.faces.ufo.runners.injecting import Injection, Unset, hidden

INJECT = {
    "run": {"api_key": "env:A", "cwd": "/srv/data"},
    "run@pc/3": {"api_key": "env:B"},
    "look": {"password": "literal-secret"},
}


def test_a_device_may_have_values_of_its_own() -> None:
    environment = {"A": "for-all", "B": " for-three\n"}
    assert Injection(INJECT, "pc/1", environment).args("run") == {"api_key": "for-all", "cwd": "/srv/data"}
    assert Injection(INJECT, "pc/3", environment).args("run") == {"api_key": "for-three", "cwd": "/srv/data"}
    assert Injection(INJECT, "pc/3", environment).args("other") == {}
    assert sorted(Injection(INJECT, "pc/3", environment).secrets()) == ["for-three", "literal-secret"]


def test_a_variable_that_is_not_set_is_named() -> None:
    injection = Injection(INJECT, "pc/1", {"A": "  "})
    with pytest.raises(Unset, match="variable A "):
        injection.args("run")
    assert injection.secrets() == ["literal-secret"]


def test_secrets_are_hidden_wherever_they_stand() -> None:
    value = {"a": ["x-sesame-y", {"sesame": 1}], "n": 1, "short": "abc"}
    assert hidden(value, ["sesame", "abc", ""]) == {"a": ["x-[hidden]-y", {"[hidden]": 1}], "n": 1, "short": "abc"}

"""Which runner serves which device, and settings that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.ufo.runners.scripted import task
from treadle.faces.ufo.runners.choosing import Choice
from treadle.faces.ufo.runners.options import LlmOptions, RunnerOptions, completions_url

LLM = LlmOptions(base_url="http://127.0.0.1:1", model="m")


@pytest.mark.parametrize(
    ("options", "request_", "platform", "name"),
    [
        (RunnerOptions(), "free text", "linux", "rules"),
        (RunnerOptions(llm=LLM), "free text", "linux", "llm"),
        (RunnerOptions(llm=LLM), "run: ls", "linux", "rules"),
        (RunnerOptions(llm=LLM), '{"tool": "tap", "args": {}}', "linux", "rules"),
        (RunnerOptions(llm=LLM, default="llm"), "run: ls", "linux", "llm"),
        (RunnerOptions(llm=LLM, default="rules"), "free text", "linux", "rules"),
        (RunnerOptions(platforms={"mobile": "script"}), "[]", "mobile", "script"),
        (RunnerOptions(platforms={"mobile": "script"}), "[]", "linux", "rules"),
        (
            RunnerOptions(default="echo", platforms={"linux": "relay"}, devices={"d1": "script"}),
            "[]",
            "linux",
            "script",
        ),
        (RunnerOptions(default="echo", platforms={"linux": "relay"}, devices={"d2": "script"}), "[]", "linux", "relay"),
        (RunnerOptions(default="echo", devices={"d1": "auto"}), "x", "linux", "rules"),
    ],
)
def test_the_device_wins_over_its_platform(options: RunnerOptions, request_: str, platform: str, name: str) -> None:
    assert Choice(options, {}).choose(task(request_, platform=platform)).name == name


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h:8080", "http://h:8080/v1/chat/completions"),
        ("http://h:8080/", "http://h:8080/v1/chat/completions"),
        ("https://api.example.org/v1", "https://api.example.org/v1/chat/completions"),
        ("https://api.example.org/openai/v1/", "https://api.example.org/openai/v1/chat/completions"),
        ("https://api.example.org/x/chat/completions", "https://api.example.org/x/chat/completions"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/chat/completions"),
    ],
)
def test_the_address_of_the_completions(base_url: str, url: str) -> None:
    assert completions_url(base_url) == url


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "file:///etc/passwd", "model": "m"},
        {"base_url": "ftp://h", "model": "m"},
        {"base_url": "h:80", "model": "m"},
        {"base_url": "http://", "model": "m"},
        {"base_url": "http://h:port", "model": "m"},
        {"base_url": "http://me:secret@h", "model": "m"},
        {"base_url": "http://h/?key=secret", "model": "m"},
        {"base_url": "http://h/#x", "model": "m"},
        {"base_url": "http://h"},
        {"model": "m"},
        {"max_rounds": 0},
        {"max_seconds": -1.0},
        {"retries": -1},
    ],
)
def test_bad_settings_are_refused_and_not_repeated(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\[ufo.llm\]") as refused:
        LlmOptions(**settings)
    assert "secret" not in str(refused.value)


def test_a_runner_must_be_known_and_configured() -> None:
    with pytest.raises(ValueError, match="not magic"):
        Choice(RunnerOptions(devices={"d": "magic"}), {})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="needs"):
        Choice(RunnerOptions(platforms={"linux": "llm"}), {})

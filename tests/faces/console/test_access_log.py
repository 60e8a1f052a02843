"""The access log: what each level notes, what it never shows, and the file behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treadle.faces.console import access_log
from treadle.faces.console.access_log import AccessLog, Level, shown_headers

NOON = 1_763_812_800_000_000  # 2025-11-22T12:00:00Z
SECRET = "s3cr3t-value"


@pytest.fixture
def troubles() -> list[OSError]:
    return []


@pytest.fixture
def log(tmp_path: Path, troubles: list[OSError]) -> AccessLog:
    return AccessLog(tmp_path / "log", troubles.append)


def note(log: AccessLog, **changes: Any) -> None:
    usual: dict[str, Any] = {
        "endpoint": "/api/browse",
        "method": "GET",
        "remote_address": "127.0.0.1",
        "user": "ada",
        "status": 200,
        "headers": [],
        "now": NOON,
    }
    log.note(**(usual | changes))


@pytest.mark.parametrize(
    ("level", "statuses"), [("access_denied", [429, 403, 401]), ("access", [429, 403, 401, 404, 200]), ("disabled", [])]
)
async def test_the_level_says_what_is_noted(log: AccessLog, level: Level, statuses: list[int]) -> None:
    assert log.level == "access_denied"
    await log.set_level(level)
    for status in (200, 404, 401, 403, 429):
        note(log, status=status)
    assert [entry.status for entry in log.entries()] == statuses
    assert [entry.success for entry in log.entries()] == [status == 200 for status in statuses]


def test_a_refusal_may_have_the_status_of_a_page(log: AccessLog) -> None:
    note(log, endpoint="/login", status=200, denied=True)
    assert [(entry.status, entry.success) for entry in log.entries()] == [(200, False)]


def test_an_entry_has_the_documents_fields(log: AccessLog, tmp_path: Path) -> None:
    note(log, status=401, headers=[(b"User-Agent", b"curl/8"), (b"Accept", b"*/*")])
    told = {
        "timestamp": "2025-11-22T12:00:00.000Z",
        "endpoint": "/api/browse",
        "method": "GET",
        "remote_address": "127.0.0.1",
        "user": "ada",
        "success": False,
        "status": 401,
        "headers": {"user-agent": "curl/8"},
    }
    assert json.loads((tmp_path / "log" / "access.jsonl").read_text()) == told


def test_no_secret_and_no_query_is_noted(log: AccessLog, tmp_path: Path) -> None:
    headers = [
        (b"Authorization", f"Bearer {SECRET}".encode()),
        (b"Cookie", f"session={SECRET}; ua_remember={SECRET}".encode()),
        (b"X-CSRF-Token", SECRET.encode()),
        (b"X-API-Key", SECRET.encode()),
        (b"X-Other", SECRET.encode()),
        (b"Referer", f"http://ada:{SECRET}@host/page?token={SECRET}#{SECRET}".encode()),
    ]
    note(log, status=401, endpoint=f"/api/browse?token={SECRET}", headers=headers)
    assert SECRET not in (tmp_path / "log" / "access.jsonl").read_text()
    (entry,) = log.entries()
    assert entry.endpoint == "/api/browse"
    assert entry.headers == {
        "referer": "http://host/page",
        "authorization": "Bearer ***",
        "cookie": "***",
        "x-csrf-token": "***",
        "x-api-key": "***",
    }


@pytest.mark.parametrize("value", [SECRET, f"Basic  {SECRET}", f"Bearer\t{SECRET}", f"{SECRET} Bearer x", ""])
def test_no_spelling_of_a_credential_gets_through(value: str) -> None:
    assert SECRET not in str(shown_headers({"authorization": value, "cookie": value}))


def test_what_a_stranger_sends_is_cut(log: AccessLog) -> None:
    note(log, status=401, endpoint="/" + "x" * 10_000, user="y" * 10_000, headers=[(b"user-agent", b"z" * 10_000)])
    assert len(str(log.entries()[0])) < 1500


def test_the_newest_come_first_and_no_more_than_asked(log: AccessLog) -> None:
    for number in range(300):
        note(log, status=401, endpoint=f"/{number}")
    assert [entry.endpoint for entry in log.entries(2)] == ["/299", "/298"]
    assert len(log.entries()) == 50
    assert len(log.entries(1000)) == 200
    assert log.entries(0) == log.entries(-1) == []


async def test_entries_and_level_outlive_a_restart(log: AccessLog, tmp_path: Path, troubles: list[OSError]) -> None:
    await log.set_level("access")
    for number in range(3):
        note(log, endpoint=f"/{number}")
    with (tmp_path / "log" / "access.jsonl").open("ab") as file:
        file.write(b'{"timestamp":"2025')  # cut off by a crash
    again = AccessLog(tmp_path / "log", troubles.append)
    assert again.level == "access"
    assert again.entries() == log.entries()
    note(again, endpoint="/3")
    third = AccessLog(tmp_path / "log", troubles.append)
    assert [entry.endpoint for entry in third.entries()] == ["/3", "/2", "/1", "/0"]


async def test_files_are_private_and_turned_over(
    log: AccessLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "FILE_SIZE", 2000)
    await log.set_level("access")
    for number in range(100):
        note(log, endpoint=f"/{number}")
    files = {path.name: path.stat() for path in (tmp_path / "log").iterdir()}
    assert set(files) == {"access.jsonl", "access.1.jsonl", "access.level"}
    assert all(stat.st_mode & 0o777 == 0o600 for stat in files.values())
    assert all(stat.st_size < 2300 for stat in files.values())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700


async def test_a_file_that_cannot_be_written_turns_nobody_away(
    log: AccessLog, tmp_path: Path, troubles: list[OSError]
) -> None:
    (tmp_path / "log" / "access.jsonl").mkdir()
    note(log, status=401)
    assert [entry.status for entry in log.entries()] == [401]
    assert len(troubles) == 1

"""`treadle settings`: what a person and a program read of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from treadle.settings.table import entries


def settings(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "treadle", "settings", *arguments],
        env=os.environ | environ, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_json_has_every_setting_with_value_source_and_meaning(tmp_path: Path) -> None:
    (tmp_path / "treadle.toml").write_text("[taskdriver]\nrate_limit = 0")
    done = settings("--home", str(tmp_path), "--json", TREADLE_STORE="postgresql://u:hidden@h/n")
    told = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert set(told) == set(entries())
    assert told["taskdriver.rate_limit"] == {
        "name": "taskdriver.rate_limit",
        "value": 0,
        "source": f"{tmp_path}/treadle.toml: [taskdriver] rate_limit",
        "meaning": "requests in 15 minutes from one address; 0 is no limit",
        "variable": "TREADLE_TASKDRIVER_RATE_LIMIT",
        "flag": "",
        "also": "",
    }
    assert told["store"]["value"] == "postgresql://u:***@h/n"
    assert told["home"]["source"] == "--home"
    assert "hidden" not in done.stdout


def test_the_table_has_every_setting_and_what_is_ignored(tmp_path: Path) -> None:
    done = settings("--home", str(tmp_path), TASKDRIVER_MODE="mcp", TREADLE_STORE="postgresql://u:hidden@h/n")
    for name in entries():
        assert f"\n{name} " in f"\n{done.stdout}"
    (mode,) = [line.split() for line in done.stdout.splitlines() if line.startswith("TASKDRIVER_MODE")]
    assert mode[1:3] == ["is", "set"]
    assert done.stderr == "treadle: TASKDRIVER_MODE changes nothing: HTTP is always served; MCP is `treadle mcp`\n"
    assert "hidden" not in done.stdout


def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = settings("--home", str(tmp_path), TREADLE_AUTH="maybe")
    assert done.returncode == 2
    assert done.stderr == "treadle: TREADLE_AUTH: 'maybe' must be one of open, required\n"
    assert done.stdout == ""

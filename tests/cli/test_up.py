"""What `treadle up` makes of what was typed, and the commands it offers to paste; the server itself is a scenario."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from treadle.cli import Stop
from treadle.cli.up import addresses, next_steps, program
from treadle.settings import Settings

HERE = Path("/clone")
BOTH = {"taskdriver": "http://127.0.0.1:3000", "fabric": "http://127.0.0.1:4892"}


def test_listen_names_faces_and_the_last_word_counts() -> None:
    assert addresses(["ufo=off", "fabric=[::1]:1", "ufo=127.0.0.1:2"]) == {
        "listen.ufo": "127.0.0.1:2",
        "listen.fabric": "[::1]:1",
    }


@pytest.mark.parametrize("text", ["fabric", "nobody=127.0.0.1:1", "=127.0.0.1:1", "127.0.0.1:1"])
def test_listen_without_a_face_is_refused(text: str) -> None:
    with pytest.raises(Stop, match="say FACE=HOST:PORT or FACE=off") as stop:
        addresses([text])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("started", "said"),
    [
        ("/clone/.venv/bin/treadle", ".venv/bin/treadle"),
        (".venv/bin/treadle", ".venv/bin/treadle"),
        ("/elsewhere/bin/treadle", "/elsewhere/bin/treadle"),
        ("/with space/bin/treadle", "'/with space/bin/treadle'"),
        ("/clone/src/treadle/__main__.py", f"{sys.executable} -m treadle"),
    ],
)
def test_a_person_is_told_the_program_as_it_was_started(started: str, said: str) -> None:
    assert program(Path(started), HERE) == said


def test_a_program_on_the_path_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "treadle"
    installed.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program(installed, HERE) == "treadle"


def test_the_commands_to_paste_name_a_home_of_ones_own_and_the_key_where_one_is_asked_for() -> None:
    own = "\n".join(next_steps(BOTH, Settings(home=Path("~/.treadle").expanduser())))
    assert "TREADLE_HOME" not in own
    assert "X-API-Key" not in own
    other = "\n".join(next_steps(BOTH, Settings(home=Path("/a b"), auth="required")))
    assert "TREADLE_HOME='/a b' " in other
    assert "X-API-Key: $(cat '/a b/secrets/local.key')" in other


def test_no_command_is_offered_for_a_face_that_does_not_listen() -> None:
    for face, url in BOTH.items():
        assert "curl" not in "\n".join(next_steps({face: url}, Settings(home=HERE)))

"""What execute runs: words of an argument line, the operator's template, and what is hidden of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from treadle.core.errors import Denied, Invalid
from treadle.core.runs import Window
from treadle.faces.console.commands import argv_of, check, command_of, masked, split
from treadle.faces.console.options import Options
from treadle.faces.console.paths import Roots


def options(**more: object) -> Options:
    return Options(**{"version": "1", "node": lambda: None, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  --dry-run   --limit 3 ", ["--dry-run", "--limit", "3"]),
        ("""a "b c" 'd "e"' f\\ g ''""", ["a", "b c", 'd "e"', "f g", ""]),
        ("; $HOME | `id` > x & *? ~ ! # no", [";", "$HOME", "|", "`id`", ">", "x", "&", "*?", "~", "!", "#", "no"]),
        ("a\nb\tc", ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_a_line_is_split_as_a_shell_splits_it_and_read_no_further(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ['"open', "it's", "trailing \\"])
def test_an_unbalanced_quote_is_said(line: str) -> None:
    with pytest.raises(Invalid, match="args"):
        split(line)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "Tom & Jerry!.sh").write_text("")
    (tmp_path / "Tom & Jerry!.sh").chmod(0o755)
    (tmp_path / "plain.txt").write_text("")
    return tmp_path


def argv(media: Path, name: str, words: list[str], **more: object) -> tuple[str, ...]:
    with Roots([str(media)]).open(str(media / name)) as place:
        return argv_of(options(**more), place, words)


def test_by_default_a_file_runs_itself_and_a_folder_is_a_shell(media: Path) -> None:
    assert argv(media, "Tom & Jerry!.sh", ["-x"]) == (str(media / "Tom & Jerry!.sh"), "-x")
    assert argv(media, "", [], shell="/bin/bash") == ("/bin/bash", "-i")
    assert argv(media, "", []) == ("/bin/sh", "-i")
    with pytest.raises(Denied, match="not executable"):
        argv(media, "plain.txt", [])


def test_a_template_decides_what_runs(media: Path) -> None:
    template = ("play", "--file={path}", "{args}", "--last")
    path = str(media / "plain.txt")
    assert argv(media, "plain.txt", ["{path}", "a b"], command=template) == (
        "play", f"--file={path}", "{path}", "a b", "--last"
    )  # fmt: skip
    assert argv(media, "plain.txt", [], command=("show", "{path}")) == ("show", path)
    with pytest.raises(Invalid, match="not taken"):
        argv(media, "plain.txt", ["more"], command=("show", "{path}"))


@pytest.mark.parametrize("template", [("{args}",), ("play", "x{args}"), ("",)])
def test_a_template_that_cannot_be_meant_is_refused(template: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="command"):
        check(template)


def test_it_runs_in_the_folder_with_a_terminal_that_does_not_repeat(media: Path) -> None:
    with Roots([str(media)]).open(str(media / "Tom & Jerry!.sh")) as place:
        command = command_of(options(columns=90, rows=30, kill_seconds=7), place, [])
        piped = command_of(options(pty=False), place, [])
    assert (command.cwd, command.pty, command.grace) == (str(media), Window(90, 30, echo=False), 7.0)
    assert (piped.pty, piped.stdin) == (None, True)


def test_secrets_are_not_shown() -> None:
    line = (
        "up --token abc --api-key=k1 --password= -v --secret --next https://ada:pw@host/x https://host:80/y --toke-not"
    )
    assert " ".join(masked(line.split())) == (
        "up --token *** --api-key=*** --password=*** -v --secret --next https://ada:***@host/x https://host:80/y "
        "--toke-not"
    )

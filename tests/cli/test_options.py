"""Commands that are called without Typer: what is understood is what Typer would have understood, and no more."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from treadle.cli import COMMANDS
from treadle.cli.options import Argument, Option, typed, understood

GIVEN: list[dict[str, Any]] = []


def first(
    words: Annotated[list[str], Argument(metavar="WORDS…", help="Words.", rest=True)],
    text: Annotated[str, Option("--text", "-t", help="A text.")] = "plain",
    flag: Annotated[bool, Option("--flag", "-f", help="A flag.")] = False,
    many: Annotated[list[str] | None, Option("--many", "-m", help="Several.")] = None,
    number: Annotated[int | None, Option("--number", help="A number.", least=2)] = None,
    length: Annotated[float, Option("--length", help="A length.", least=0)] = 1.5,
) -> None:
    GIVEN.append({"words": words, "text": text, "flag": flag, "many": many, "number": number, "length": length})


def second(
    id: Annotated[str, Argument(metavar="ID", help="One word.")],
    flag: Annotated[bool, Option("--flag", help="A flag.")] = False,
) -> None:
    GIVEN.append({"id": id, "flag": flag})


def third(flag: Annotated[bool, Option("--flag", help="A flag.")] = False) -> None:
    GIVEN.append({"flag": flag})


def by_typer(function: Any, words: list[str]) -> dict[str, Any] | None:
    """What Typer makes of the same words, or None where it refuses them or says something itself."""
    call, settings = typed(function)
    app = typer.Typer(add_completion=False)
    app.command(context_settings=settings)(call)
    GIVEN.clear()
    CliRunner().invoke(app, words)
    return GIVEN[0] if GIVEN else None


UNDERSTOOD = [
    (first, "echo hi"),
    (first, "-- echo hi"),
    (first, "--text=a=b echo --text c --flag -- d"),
    (first, "-t x -f -m 1 -m 2 echo"),
    (first, "--number 2 --length 0 -- -x"),
    (first, "--text -- -- y"),
    (first, "- x"),
    (second, "r1 --flag"),
    (second, "--flag -- --odd"),
    (third, ""),
    (third, "--flag"),
]


@pytest.mark.parametrize(("function", "words"), UNDERSTOOD)
def test_what_is_plain_is_understood_as_typer_does(function: Any, words: str) -> None:
    given = understood(function, words.split())
    assert given is not None
    assert given == by_typer(function, words.split())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (first, ""),
        (first, "--help"),
        (first, "--nope x"),
        (first, "--flag=yes x"),
        (first, "-t=x y"),
        (first, "-ft x y"),
        (first, "--number many x"),
        (first, "--number 1 x"),
        (first, "--text"),
        (second, ""),
        (second, "a b"),
        (third, "a"),
    ],
)
def test_everything_else_is_for_typer(function: Any, words: str) -> None:
    assert understood(function, words.split()) is None


QUICK = [row for row in COMMANDS if row.quick]


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row.name)
def test_typer_reads_every_quick_command(row: Any) -> None:
    call, settings = typed(row.found())
    app = typer.Typer(add_completion=False)
    app.command(context_settings=settings)(call)
    said = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"])
    assert said.exit_code == 0, said.output
    assert "--json" in said.output

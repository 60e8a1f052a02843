"""`treadle settings`: every setting with its value, source and meaning, and the variables that change nothing."""

import os
import sys
from typing import Annotated

import msgspec
from typer import Option

from treadle.settings.reading import Reading, Wrong, read

from . import Stop


def settings(
    home: Annotated[str | None, Option(metavar="DIR", help="The settings of this home, not of ~/.treadle.")] = None,
    config: Annotated[str | None, Option(metavar="FILE", help="Read this instead of treadle.toml in the home.")] = None,
    json: Annotated[bool, Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show every setting as a server started here and now would have it.

    A flag wins over the environment, that over treadle.toml, that over the default. Passwords are masked.
    """
    typed = {"home": home, "config": config}
    try:
        reading = read({name: value for name, value in typed.items() if value is not None}, os.environ)
    except Wrong as wrong:
        raise Stop(str(wrong), 2) from None
    if json:
        told = {"settings": reading.rows, "ignored": reading.ignored, "warnings": reading.warnings}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
        return
    tables(reading)
    for warning in reading.warnings:
        sys.stderr.write(f"treadle: {warning}\n")


def tables(reading: Reading) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    said = Table("setting", "value", "source", "meaning", box=None, header_style="dim", pad_edge=False)
    for row in reading.rows:
        spellings = " or ".join(filter(None, (row.flag.rstrip("= "), row.variable, row.also)))
        said.add_row(
            row.name, escape(plain(row.value)), escape(row.source), f"{escape(row.meaning)} [dim]({spellings})[/dim]"
        )
    ignored = Table("changes nothing", "", "because", box=None, header_style="dim", pad_edge=False)
    for each in reading.ignored:
        ignored.add_row(each.variable, "is set" if each.set else "", escape(each.why))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(said)
    console.print()
    console.print(ignored)


def plain(value: object) -> str:
    """A value as a person would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)

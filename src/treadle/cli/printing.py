"""What commands print: tables for eyes on a terminal, plain aligned lines elsewhere, JSON for programs.

What users wrote is printed as it is: never read as markup, and with control characters made visible, so that a task
cannot repaint the terminal of whoever lists it.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

GLYPHS = {
    "queued": "○",
    "running": "◐",
    "succeeded": "✓",
    "failed": "✕",
    "cancelled": "\u2013",
    "present": "●",
    "absent": "○",
}
COLOURS = {
    "queued": "dim",
    "running": "blue",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "present": "green",
    "absent": "dim",
}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL_BUT_LINES = {code: text for code, text in _CONTROL.items() if code not in (9, 10)}


class Column(NamedTuple, Generic[T]):
    """A column: its title, what stands in it, and whether it is a state, a number, or long text that may be cut."""

    title: str
    cell: Callable[[T], object]
    kind: str = ""


def on_terminal() -> bool:
    return sys.stdout.isatty()


def json_out(value: Any) -> None:
    """One JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def json_line(value: Any) -> None:
    """One JSON document on one line, at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """A line about what was done."""
    sys.stdout.write(visible(line, lines=True) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """A line about what is going on, beside the output."""
    sys.stderr.write(visible(line, lines=True) + "\n")
    sys.stderr.flush()


def table(columns: Sequence[Column[T]], items: Iterable[T], *, empty: str) -> None:
    """The items as a table; the `empty` line goes to stderr when there are none."""
    shown = list(items)
    if not shown:
        note(empty)
    elif on_terminal():
        from rich.console import Console

        Console(highlight=False).print(grid(columns, shown))
    else:
        _plain_table(columns, _cells(columns, shown))


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one on a line; a value of several lines stands below its name."""
    shown = [(name, plain(value, lines=True).rstrip("\n")) for name, value in pairs if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        if "\n" in value:
            value = "\n" + "\n".join(f"    {line}" for line in value.split("\n"))
        sys.stdout.write(f"{name.ljust(width)}  {value}\n")


def plain(value: object, *, lines: bool = False) -> str:
    """A value as text; what is neither text nor number nor instant as JSON."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, str):
        return visible(value, lines=lines)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return visible(msgspec.json.encode(value).decode(errors="replace"), lines=lines)


def visible(text: str, *, lines: bool = False) -> str:
    """The text with control characters spelled out; `lines` keeps line breaks and tabs."""
    return text.translate(_CONTROL_BUT_LINES if lines else _CONTROL).encode(errors="replace").decode()


def when(moment: datetime) -> str:
    """How long ago within the hour, then the local clock; ISO where no person reads."""
    if not on_terminal():
        return moment.isoformat().replace("+00:00", "Z")
    past = datetime.now(moment.tzinfo) - moment
    if timedelta(0) <= past < timedelta(hours=1):
        seconds = int(past.total_seconds())
        return f"{seconds} s ago" if seconds < 60 else f"{seconds // 60} min ago"
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def grid(columns: Sequence[Column[T]], items: Iterable[T]) -> Any:
    """The items as a table that rich draws."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.kind == "number" else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if column.kind == "text" else 2,
            ratio=1 if column.kind == "text" else None,
        )
    for row in _cells(columns, items):
        cells = []
        for column, cell in zip(columns, row, strict=True):
            if column.kind == "state":
                cells.append(Text(f"{GLYPHS.get(cell, ' ')} {cell}", style=COLOURS.get(cell, "")))
            else:
                cells.append(Text(cell))
        table.add_row(*cells)
    return table


def _cells(columns: Sequence[Column[T]], items: Iterable[T]) -> list[list[str]]:
    return [[plain(column.cell(item)) for column in columns] for item in items]


def _plain_table(columns: Sequence[Column[Any]], rows: list[list[str]]) -> None:
    table = [[column.title for column in columns], *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(columns))]
    for row in table:
        line = "  ".join(
            cell.rjust(width) if column.kind == "number" else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        sys.stdout.write(line.rstrip() + "\n")

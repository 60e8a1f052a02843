"""An answer as a person reads it: a line that says how it went, then the data as an indented outline."""

from collections.abc import Iterator, Mapping
from typing import Any


def outline(told: Mapping[str, Any]) -> str:
    """The text of a whole answer, given as plain data: `success` first, everything else below it."""
    head = "Done" if told["success"] else f"Not done: {told.get('error', 'no reason was given')}"
    lines = [told.get("message", head) if told["success"] else head]
    if not told["success"] and "message" in told:
        lines.append(told["message"])
    for name, value in told.items():
        if name == "data":
            lines += _lines(value, "")
        elif name not in ("success", "error", "message"):
            lines += _named(name, value, "")
    return "\n".join(lines)


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _named(name, item, indent)
    elif isinstance(value, list):
        for item in value:
            inner = list(_lines(item, f"{indent}  ")) or [f"{indent}  (empty)"]
            yield f"{indent}- {inner[0].strip()}"
            yield from inner[1:]
    elif value is not None:
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        yield from (f"{indent}{line}" for line in text.splitlines() or [""])


def _named(name: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield f"{indent}{name}:"
        yield from _lines(value, f"{indent}  ")
    elif isinstance(value, str) and "\n" in value:
        yield f"{indent}{name}: |"
        yield from _lines(value, f"{indent}  ")
    elif isinstance(value, dict | list) or value is None:
        yield f"{indent}{name}: (none)"
    else:
        yield f"{indent}{name}: {next(_lines(value, ''))}"

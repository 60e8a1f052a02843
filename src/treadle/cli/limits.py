"""What a run may use, as people type it: `memory=1G`, `seconds=90`, `seconds=5m`."""

import re
from typing import Any

from msgspec.structs import fields, replace

from treadle.client.runs import Limits

from . import Stop
from .endings import USAGE

NAMES = tuple(field.name.replace("_", "-") for field in fields(Limits))
SIZES = {"memory", "file_size"}
TIMES = {"cpu", "seconds"}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
_BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def limits(typed: list[str]) -> Limits:
    """All of them together; the last word on one thing counts. Raises Stop."""
    found: dict[str, Any] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        field = name.replace("-", "_")
        if not equals or name.replace("_", "-") not in NAMES:
            raise Stop(f"--limit {text}: say NAME=VALUE with one of {', '.join(NAMES)}", USAGE)
        found[field] = _amount(text, field, value)
    return replace(Limits(), **found)


def _amount(text: str, field: str, value: str) -> int | float:
    units = _BYTES if field in SIZES else _SECONDS if field in TIMES else {"": 1}
    parts = _NUMBER.fullmatch(value)
    unit = parts[2].lower() if parts else ""
    if field in SIZES:
        unit = unit.removesuffix("ib") if unit != "b" else unit
    if parts is None or unit not in units or float(parts[1]) == 0:
        shown = "1G" if field in SIZES else "90s" if field in TIMES else "64"
        raise Stop(f"--limit {text}: say a number such as {shown}", USAGE)
    amount = float(parts[1]) * units[unit]
    return amount if field == "seconds" else int(amount)

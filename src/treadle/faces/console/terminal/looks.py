"""How text looks: the state that SGR sequences change, and its spelling as CSS."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

PALETTE = (
    "#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5",
    "#666666", "#f14c4c", "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
)  # fmt: skip
"""The sixteen named colours, chosen to be legible on a dark pane and, most of them, on a light one."""
INK, PAPER = "#d4d4d4", "#1e1e1e"
"""What inverse text without colours of its own is drawn with: the page's own colours are not known here."""

MOST_PARAMETERS = 32
_LEVELS = (0, 95, 135, 175, 215, 255)
_COLOURS = {38: "fg", 48: "bg", 58: ""}  # 58, the colour of underlines, is read only to be passed over


class Style(NamedTuple):
    """The graphic rendition in force; a colour is `#rrggbb`, or empty for the page's own."""

    fg: str = ""
    bg: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False


PLAIN = Style()


def _changes() -> dict[int, dict[str, Any]]:
    """What each code that stands alone changes."""
    changes: dict[int, dict[str, Any]] = {
        1: {"bold": True}, 2: {"dim": True}, 3: {"italic": True}, 4: {"underline": True}, 7: {"inverse": True},
        9: {"strike": True}, 21: {"underline": True}, 22: {"bold": False, "dim": False}, 23: {"italic": False},
        24: {"underline": False}, 27: {"inverse": False}, 29: {"strike": False}, 39: {"fg": ""}, 49: {"bg": ""},
    }  # fmt: skip
    for at in range(8):
        changes |= {30 + at: {"fg": PALETTE[at]}, 40 + at: {"bg": PALETTE[at]}}
        changes |= {90 + at: {"fg": PALETTE[8 + at]}, 100 + at: {"bg": PALETTE[8 + at]}}
    return changes


_CHANGES = _changes()


def restyled(style: Style, parameters: str) -> Style:
    """The style after `CSI parameters m`; what is not understood changes nothing."""
    if len(parameters) > 64:  # no program means these: such texts are not worth remembering
        return _restyled.__wrapped__(style, ";".join(parameters.split(";", MOST_PARAMETERS)[:MOST_PARAMETERS]))
    return _restyled(style, parameters)


@lru_cache(maxsize=2048)
def _restyled(style: Style, parameters: str) -> Style:
    fields = parameters.split(";")
    at = 0
    while at < len(fields):
        field = fields[at]
        at += 1
        if ":" in field:
            style = _by_colons(style, field.split(":"))
            continue
        code = number(field)
        if code in _COLOURS:
            colour, used = _colour([number(other) for other in fields[at : at + 4]])
            at += used
            style = _coloured(style, _COLOURS[code], colour)
        else:
            style = PLAIN if code == 0 else style._replace(**_CHANGES.get(code, {}))
    return style


def _by_colons(style: Style, parts: list[str]) -> Style:
    """One parameter with sub-parameters, as ISO 8613-6 writes colours and newer terminals the kinds of underline."""
    code = number(parts[0])
    if code == 4:
        return style._replace(underline=number(parts[1]) != 0)
    if code not in _COLOURS:
        return style
    values = [number(part) for part in parts[1:]]
    if values[0] == 2 and len(values) > 4:
        del values[1]  # the colour space, most often empty
    return _coloured(style, _COLOURS[code], _colour(values)[0])


def _colour(values: list[int]) -> tuple[str, int]:
    """The colour that follows 38, 48 or 58, or "", and how many parameters belong to it."""
    match values:
        case [5, index, *_]:
            return (_indexed(index) if 0 <= index < 256 else ""), 2
        case [2, red, green, blue, *_]:
            known = all(0 <= value < 256 for value in (red, green, blue))
            return (f"#{red:02x}{green:02x}{blue:02x}" if known else ""), 4
    return "", len(values)


def _coloured(style: Style, name: str, colour: str) -> Style:
    changes: dict[str, Any] = {name: colour}
    return style._replace(**changes) if name and colour else style


def _indexed(index: int) -> str:
    if index < 16:
        return PALETTE[index]
    if index >= 232:
        grey = 8 + 10 * (index - 232)
        return f"#{grey:02x}{grey:02x}{grey:02x}"
    index -= 16
    red, green, blue = _LEVELS[index // 36], _LEVELS[index // 6 % 6], _LEVELS[index % 6]
    return f"#{red:02x}{green:02x}{blue:02x}"


def number(field: str) -> int:
    """A parameter: 0 when it is empty, at most 9999, -1 when it is none."""
    if not field:
        return 0
    if not (field.isascii() and field.isdigit()):
        return -1
    return min(int(field[-5:]), 9999) if len(field.lstrip("0")) < 5 else 9999


@lru_cache(maxsize=2048)
def css(style: Style) -> str:
    """The style as the text of a `style` attribute; empty for plain text."""
    fg, bg = style.fg, style.bg
    if style.inverse:
        fg, bg = bg or PAPER, fg or INK
    lines = " ".join(["underline"] * style.underline + ["line-through"] * style.strike)
    told = (
        f"color:{fg}" if fg else "",
        f"background-color:{bg}" if bg else "",
        "font-weight:bold" if style.bold else "",
        "opacity:.6" if style.dim else "",
        "font-style:italic" if style.italic else "",
        f"text-decoration:{lines}" if lines else "",
    )
    return ";".join(filter(None, told))

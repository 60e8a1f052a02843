"""Screenshots in what a tool answered: found, taken out of the text, and handed over as pictures."""

import re
from typing import Any

from msgspec import Struct, field

_KINDS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""How base64 of each kind of picture begins."""
_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,")
_SMALLEST = 64
_LARGEST = 8 * 2**20
"""Characters of base64; a larger picture is mentioned and not shown."""
MOST_IMAGES = 4


class Seen(Struct):
    """A tool's answer whose pictures are named in the text and kept as data URLs."""

    value: Any = None
    images: list[str] = field(default_factory=list)


def seen(value: Any) -> Seen:
    """Takes the pictures out of a JSON value."""
    found = Seen()
    found.value = _walk(value, found.images)
    return found


def _walk(value: Any, images: list[str]) -> Any:
    match value:
        case str():
            return _text(value, images)
        case {"type": "image", "data": str(data), **rest}:
            kind = rest.get("mimeType")
            return _text(f"data:{kind if isinstance(kind, str) else 'image/png'};base64,{data}", images)
        case dict():
            return {name: _walk(each, images) for name, each in value.items()}
        case list():
            return [_walk(each, images) for each in value]
        case _:
            return value


def _text(text: str, images: list[str]) -> str:
    url = _data_url(text)
    if url is None:
        return text
    size = f"about {len(url) * 3 // 4096} KiB"
    if len(url) > _LARGEST or len(images) >= MOST_IMAGES:
        return f"[a picture, {size}, not shown]"
    images.append(url)
    return f"[picture {len(images)}, {size}]"


def _data_url(text: str) -> str | None:
    """The text as a data URL if it is a picture."""
    if len(text) < _SMALLEST:
        return None
    if _DATA_URL.match(text):
        return text
    kind = next((kind for begin, kind in _KINDS.items() if text.startswith(begin)), None)
    # A path such as /9j/… is short and has a dot or a space early on.
    if kind is None or not re.fullmatch(r"[A-Za-z0-9+/\r\n]+={0,2}", text[:_SMALLEST]):
        return None
    return f"data:{kind};base64,{text}"

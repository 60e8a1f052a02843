"""What has been said between a model and its device, kept within what a model reads at once."""

from typing import Any

import msgspec
from msgspec import Struct, field

Sent = dict[str, Any]
"""A message as the endpoint wants it."""
_RESULT = 12_000
"""Characters of one result that the model is shown: its beginning and its end."""
_OLD = 300
"""Characters that stay of an old result once room is needed."""
_FEWEST = 4_000


class Entry(Struct):
    """One message. `text` is its content; the pictures of all but the latest are dropped."""

    role: str
    text: str
    images: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str = ""


class Conversation:
    """The messages of one session; the first two, who the model is and what is asked, always stay whole."""

    def __init__(self, system: str, request: str, *, limit: int) -> None:
        self._entries = [Entry("system", system), Entry("user", request)]
        self._limit = limit

    def add(self, entry: Entry) -> None:
        """Appends a message; of the pictures only the newest stay."""
        if entry.images:
            for old in self._entries:
                old.images = []
        self._entries.append(entry)
        self._fit()

    def narrow(self) -> bool:
        """Halves what the model is told, after it said that it is too much; False when it is little already."""
        size = self._size()
        self._limit = min(self._limit, size) // 2
        self._fit()
        return self._limit >= _FEWEST and self._size() < size

    def messages(self) -> list[Sent]:
        """The messages to send."""
        return [_sent(entry) for entry in self._entries]

    def _size(self) -> int:
        return sum(len(entry.text) for entry in self._entries)

    def _fit(self) -> None:
        """Shortens the oldest results first; what the model itself said stays, and so does the latest result."""
        size = self._size()
        for entry in self._entries[2:-1]:
            if size <= self._limit:
                return
            if entry.role != "assistant" and len(entry.text) > _OLD:
                size -= len(entry.text)
                entry.text = f"{entry.text[:_OLD]}… (the rest was left out)"
                size += len(entry.text)
        last = self._entries[-1]
        if size > self._limit and len(self._entries) > 2:
            last.text = cut(last.text, max(_OLD, self._limit - (size - len(last.text))))


def cut(text: str, most: int = _RESULT) -> str:
    """A text without its middle where it is too long."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… ({len(text) - 2 * half} characters left out) …\n{text[-half:]}"


def shown(value: Any) -> str:
    """A tool's answer as text for the model."""
    return cut(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _sent(entry: Entry) -> Sent:
    sent: Sent = {"role": entry.role, "content": entry.text}
    if entry.images:
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in entry.images]
        sent["content"] = [{"type": "text", "text": entry.text}, *pictures]
    if entry.tool_calls:
        sent["tool_calls"] = entry.tool_calls
    if entry.tool_call_id:
        sent["tool_call_id"] = entry.tool_call_id
    return sent

"""The bus inside one process: hints from the loop to whoever waits on it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class LocalListener:
    """One who listens to one topic; remembers a hint until the next look."""

    def __init__(self) -> None:
        self._said = asyncio.Event()

    def tell(self) -> None:
        self._said.set()

    async def heard(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._said.wait()
        except TimeoutError:
            return False
        self._said.clear()
        return True


class LocalBus:
    """Topics of this process. Only call it on the loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[LocalListener]] = {}

    def publish(self, topic: str) -> None:
        for listener in self._listeners.get(topic, ()):
            listener.tell()

    @contextmanager
    def listen(self, topic: str) -> Iterator[LocalListener]:
        listener = LocalListener()
        self._listeners.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            listeners = self._listeners[topic]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[topic]

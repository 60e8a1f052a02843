"""The bus inside one process: hints from the loop to whoever waits on it, requests to whoever serves them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from treadle.core.errors import Unanswered, Unreachable
from treadle.core.ports import Answer

from .messages import REST, Report, fitting, spelled, spelled_served, to_log


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


class LocalService:
    """One who serves a subject, and the answers it is at work on."""

    def __init__(self, answer: Answer, report: Report) -> None:
        self.at_work: set[asyncio.Task[bytes | None]] = set()
        self._answer, self._report = answer, report

    def start(self, subject: str, payload: bytes) -> asyncio.Task[bytes | None]:
        """The task that comes to the answer, or to None where that failed."""
        task = asyncio.ensure_future(self._answered(subject, payload))
        self.at_work.add(task)
        task.add_done_callback(self.at_work.discard)
        return task

    def stop(self) -> None:
        for task in self.at_work:
            task.cancel()

    async def _answered(self, subject: str, payload: bytes) -> bytes | None:
        try:
            return fitting(await self._answer(subject, payload))
        except Exception as error:  # noqa: BLE001 - a fault of the answer's own, whatever it is
            self._report(f"Answering {subject} failed", error)
            return None


class LocalBus:
    """Topics and subjects of this process. Only call it on the loop.

    An answer that raises is a fault of who gives it: it is reported, and who asked gets Unanswered at once. Those who
    ask with refusals to expect put them into the answer.
    """

    def __init__(self, *, report: Report = to_log) -> None:
        self._listeners: dict[str, set[LocalListener]] = {}
        self._served: dict[str, list[LocalService]] = {}
        self._at_work: set[asyncio.Task[bytes | None]] = set()
        self._turn = 0
        self._report = report
        self._closed = False

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

    async def request(self, subject: str, payload: bytes, seconds: float) -> bytes:
        fitting(payload)
        task = self._service(subject).start(subject, payload)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            unfinished = not task.done()
            task.cancel()
        if unfinished:
            raise Unanswered(f"No answer from {subject} within {seconds:g} s; whether it was done is not known")
        if task.cancelled():
            raise Unanswered(f"Who served {subject} stopped; whether it was done is not known")
        answer = task.result()
        if answer is None:
            raise Unanswered(f"Who serves {subject} failed; whether it was done is not known")
        return answer

    @contextmanager
    def serve(self, subject: str, answer: Answer) -> Iterator[None]:
        spelled_served(subject)
        service = LocalService(answer, self._report)
        self._served.setdefault(subject, []).append(service)
        try:
            yield
        finally:
            services = self._served[subject]
            services.remove(service)
            if not services:
                del self._served[subject]
            service.stop()

    async def close(self) -> None:
        self._closed = True
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    def _service(self, subject: str) -> LocalService:
        """Whose turn it is to answer this subject."""
        spelled(subject)
        if self._closed:
            raise Unreachable("This bus is closed")
        served = list(self._served.get(subject, ()))
        dot = subject.find(".")
        while dot >= 0:
            served += self._served.get(subject[:dot] + REST, ())
            dot = subject.find(".", dot + 1)
        if not served:
            raise Unreachable(f"Nobody serves {subject}")
        self._turn += 1
        return served[self._turn % len(served)]

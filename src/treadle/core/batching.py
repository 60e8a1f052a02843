"""Calls of the hot verbs that come close together ride together: each verb's as one set, and all in one commit.

Most of what a commit costs is the same whatever it carries. So the set-based form is the only form of a hot verb, and
callers answered together are given the moment they need to come back together; a lone call waits for no more than that.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from .errors import FabricError, StoreUnavailable
from .ports import Store, Tx

C = TypeVar("C")
R = TypeVar("R")

LARGEST = 256
"""Calls in one ride; bounds how long one transaction holds its locks."""
QUIET_TURNS = 4
"""A ride leaves when the loop has gone round so often with nobody new; idle turns take microseconds."""
LONGEST_GATHER = 0.005
"""Seconds after which it leaves although ever more callers come."""


class Station:
    """Where the calls of one store's verbs gather: all who wait leave at once, the next when those have arrived."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._waiting: dict[Batched[Any, Any], None] = {}
        self._came = self._under_way = 0
        self._gathering = False

    def come(self, verb: "Batched[Any, Any]") -> None:
        """Calls of this verb wait."""
        self._came += 1
        self._waiting[verb] = None
        if not self._under_way and not self._gathering:
            self._open()

    def arrived(self) -> None:
        """One of the rides that left is back."""
        self._under_way -= 1
        if not self._under_way and self._waiting:
            self._open()

    def _open(self) -> None:
        self._gathering = True
        loop = asyncio.get_running_loop()
        loop.call_soon(self._gather, loop, loop.time() + LONGEST_GATHER, self._came, 0)

    def _gather(self, loop: asyncio.AbstractEventLoop, latest: float, came: int, quiet: int) -> None:
        quiet = quiet + 1 if came == self._came else 0
        if quiet < QUIET_TURNS and loop.time() < latest:
            loop.call_soon(self._gather, loop, latest, self._came, quiet)
            return
        self._gathering = False
        leaving, self._waiting = self._waiting, {}
        for verb in leaving:
            self._under_way += 1
            if not verb.depart():
                self._under_way -= 1


class Batched(Generic[C, R]):
    """A set-based verb offered one call at a time.

    The verb answers each call in order with a result, or with the FabricError that concerns this call alone; it must
    decide before it writes, so that a refused call leaves nothing behind.
    """

    def __init__(self, station: Station, verb: Callable[[Tx, Sequence[C]], Sequence[R | FabricError]]) -> None:
        self._station, self._store, self._verb = station, station.store, verb
        self._waiting: list[tuple[C, asyncio.Future[R]]] = []

    def __call__(self, call: C) -> "asyncio.Future[R]":
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        self._station.come(self)
        return answer

    async def many(self, calls: Sequence[C]) -> list[R | FabricError]:
        """Several calls at once: the outcome of each, in order, or the FabricError that concerns it alone."""
        outcomes = await asyncio.gather(*map(self, calls), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, FabricError):
                raise outcome
        return outcomes  # type: ignore[return-value]  # what is left is an R or a FabricError

    def depart(self) -> bool:
        """Send those who still wait to the store, as many as go at once; whether there was anybody."""
        waiting = [(call, answer) for call, answer in self._waiting if not answer.cancelled()]
        ride, self._waiting = waiting[:LARGEST], waiting[LARGEST:]
        if not ride:
            return False
        calls = [call for call, _ in ride]
        done = self._store.write(lambda tx: self._verb(tx, calls))
        done.add_done_callback(lambda done: self._arrive(ride, done))
        if self._waiting:
            self._station.come(self)
        return True

    def _arrive(
        self, ride: list[tuple[C, "asyncio.Future[R]"]], done: "asyncio.Future[Sequence[R | FabricError]]"
    ) -> None:
        self._station.arrived()
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        if failure is None:
            for (_, answer), outcome in zip(ride, done.result(), strict=True):
                settle(answer, outcome)
        elif len(ride) == 1 or isinstance(failure, StoreUnavailable):
            for _, answer in ride:
                settle(answer, failure)
        else:
            # Something that the verb did not foresee broke the whole ride, say a value that the store cannot hold: each
            # call goes again by itself, so that only the one at fault fails.
            for call, answer in ride:
                self._alone(call, answer)

    def _alone(self, call: C, answer: "asyncio.Future[R]") -> None:
        done = self._store.write(lambda tx: self._verb(tx, [call]))
        done.add_done_callback(lambda done: self._arrive_alone(answer, done))

    def _arrive_alone(self, answer: "asyncio.Future[R]", done: "asyncio.Future[Sequence[R | FabricError]]") -> None:
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        settle(answer, done.result()[0] if failure is None else failure)


def settle(answer: "asyncio.Future[R]", outcome: R | BaseException) -> None:
    """Give the outcome to whoever still waits for it."""
    if answer.done():
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)

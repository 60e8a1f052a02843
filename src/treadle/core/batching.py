"""Calls of one verb that arrive while a transaction is under way ride together in the next one.

A lone call is a batch of one and waits for nobody; under load a batch grows to what arrived during one commit. So the
set-based form is the only form of a hot verb, and its cost per call falls as callers are added.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .errors import FabricError, StoreUnavailable
from .ports import Store, Tx

C = TypeVar("C")
R = TypeVar("R")

LARGEST = 256
"""Calls in one ride; bounds how long one transaction holds its locks."""


class Batched(Generic[C, R]):
    """A set-based verb offered one call at a time.

    The verb answers each call in order with a result, or with the FabricError that concerns this call alone; it must
    decide before it writes, so that a refused call leaves nothing behind.
    """

    def __init__(self, store: Store, verb: Callable[[Tx, Sequence[C]], Sequence[R | FabricError]]) -> None:
        self._store, self._verb = store, verb
        self._waiting: list[tuple[C, asyncio.Future[R]]] = []
        self._under_way = False

    def __call__(self, call: C) -> "asyncio.Future[R]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((call, answer))
        if not self._under_way:
            self._under_way = True
            loop.call_soon(self._depart)
        return answer

    async def many(self, calls: Sequence[C]) -> list[R | FabricError]:
        """Several calls at once: the outcome of each, in order, or the FabricError that concerns it alone."""
        outcomes = await asyncio.gather(*map(self, calls), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, FabricError):
                raise outcome
        return outcomes  # type: ignore[return-value]  # what is left is an R or a FabricError

    def _depart(self) -> None:
        ride = [(call, answer) for call, answer in self._waiting[:LARGEST] if not answer.cancelled()]
        del self._waiting[:LARGEST]
        if not ride:
            self._under_way = bool(self._waiting)
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._depart)
            return
        calls = [call for call, _ in ride]
        done = self._store.write(lambda tx: self._verb(tx, calls))
        done.add_done_callback(lambda done: self._arrive(ride, done))

    def _arrive(
        self, ride: list[tuple[C, "asyncio.Future[R]"]], done: "asyncio.Future[Sequence[R | FabricError]]"
    ) -> None:
        self._depart()
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

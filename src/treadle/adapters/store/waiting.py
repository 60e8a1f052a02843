"""A verb that waits for its transaction: how waiting verbs are taken together, and how their callers are answered."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from treadle.core.errors import Fault, Invalid
from treadle.core.events import Event
from treadle.core.ports import Tx

Verb = Callable[[Tx], Any]
Waiting = tuple[Verb, "asyncio.Future[Any]"]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]
"""Whom to answer, with what, or with which error."""


def taken_together(queue: "SimpleQueue[Waiting | None]", most: int) -> Iterator[list[Waiting]]:
    """What waits, up to so many at once, for ever; ends at a None."""
    last = False
    while not last and (first := queue.get()) is not None:
        together = [first]
        with suppress(Empty):
            while len(together) < most and not last:
                following = queue.get_nowait()
                if following is None:
                    last = True
                else:
                    together.append(following)
        yield together


def answer(outcomes: Iterable[Outcome]) -> None:
    """Answer whoever still waits; only on the loop."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_told(error))


def _told(error: BaseException) -> BaseException:
    """The error as its caller is to hear it."""
    if isinstance(error, StopIteration):  # a future refuses it, and those behind it would never be answered
        return RuntimeError("a verb raised StopIteration")
    if isinstance(error, OverflowError):
        return Invalid(Fault("value", "is too large to be stored"))
    if isinstance(error, UnicodeEncodeError):
        return Invalid(Fault("value", "must not contain half of a surrogate pair"))
    return error


def answer_and_tell(
    outcomes: Iterable[Outcome], facts: Sequence[Event], on_commit: Callable[[Sequence[Event]], None] | None
) -> None:
    """Answer, then pass on the facts of the commit; only on the loop."""
    answer(outcomes)
    if facts and on_commit:
        on_commit(facts)

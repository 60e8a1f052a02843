"""A lane is a thread with one line: a writing lane commits many verbs at once, a reading lane answers from snapshots.

No savepoints: a verb decides before it writes, so one that raises has nearly always left nothing behind and its
neighbours go on. When a verb raises after it wrote, or the server refuses a statement, the transaction is rolled back
and the verbs run again, the one at fault by itself: a verb is a plain function of its transaction.
"""

import random
import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from treadle.adapters.store.waiting import Outcome, Waiting, taken_together
from treadle.core.errors import FabricError, StoreUnavailable
from treadle.core.events import Event

from .known import Known
from .line import Line
from .reach import Reach
from .troubles import OUTDATED, CatalogueNeeded, Lost, Refusal, plain
from .tx import READING, WRITING, PostgresTx

TOGETHER = 128
"""Verbs in one transaction at most; it bounds how long their locks are held."""
READ_TOGETHER = 16
"""Queries on one snapshot at most."""

APART = 4
"""So many verbs may spoil one transaction before all the others also run by themselves."""
TRIES = 10
CONFLICT_SECONDS = 15.0
"""How often, and how long, a verb by itself is tried again while others are in the way."""
LOSSES = 5
"""How often verbs run again because the connection broke under them."""
LONGEST_PAUSE_SECONDS = 0.2

Answer = Callable[[Iterable[Outcome], list[Event]], None]
"""Hands outcomes, and the facts of a commit, to the loop."""


class Spoilt(Exception):
    """One verb made the transaction unusable for the others: by its error, or (None) by wanting the catalogue."""

    def __init__(self, waiting: Waiting, error: BaseException | None) -> None:
        super().__init__()
        self.waiting, self.error = waiting, error


class WriteLane:
    """Takes what waits, commits it, answers."""

    def __init__(self, reach: Reach, queue: "SimpleQueue[Waiting | None]", answer: Answer) -> None:
        self._reach, self._queue, self._answer = reach, queue, answer
        self._known = Known()

    def run(self) -> None:
        """Until the queue ends."""
        for together in taken_together(self._queue, TOGETHER):
            try:
                self._serve(together)
            except BaseException as error:  # noqa: BLE001 - it is handed to every caller, and the lane lives on
                self._reach.drop()
                self._answer([(future, None, error) for _, future in together], [])
        self._reach.close()

    def _serve(self, together: list[Waiting]) -> None:
        apart: list[tuple[Waiting, bool]] = []
        while len(together) > 1 and len(apart) < APART:
            try:
                self._answer(*self._transact(together))
                together = []
            except Spoilt as spoilt:
                together = [waiting for waiting in together if waiting is not spoilt.waiting]
                apart.append((spoilt.waiting, spoilt.error is None))
            except Refusal:  # of which verb is not known: what is told is sent with a later question
                break
            except FabricError as error:
                self._answer([(future, None, error) for _, future in together], [])
                together = []
        for waiting in together:
            self._serve_alone(waiting)
        for waiting, exclusive in apart:
            self._serve_alone(waiting, exclusive)

    def _serve_alone(self, waiting: Waiting, exclusive: bool = False) -> None:
        failure: BaseException | None = None
        until = time.monotonic() + CONFLICT_SECONDS
        for attempt in range(TRIES):
            try:
                self._answer(*self._transact([waiting], exclusive))
                return
            except Spoilt as spoilt:
                failure = spoilt.error
                if failure is not None:
                    break
                exclusive = True
            except Refusal as refusal:
                failure = plain(refusal.sqlstate, refusal.said, self._reach.shown)
                if not refusal.conflict or time.monotonic() > until:
                    break
                self._reach.closing.wait(random.uniform(0, LONGEST_PAUSE_SECONDS) * (attempt + 1) / TRIES)
            except FabricError as error:
                failure = error
                break
        self._answer([(waiting[1], None, failure)], [])

    def _transact(self, together: list[Waiting], exclusive: bool = False) -> tuple[list[Outcome], list[Event]]:
        """Run the verbs in one transaction and commit; what to answer and which facts there are."""
        for _ in range(LOSSES):
            line = self._reach.line()
            tx = PostgresTx(line, self._reach.ground, known=self._known, shard=self._reach.shard, exclusive=exclusive)
            outcomes: list[Outcome] = []
            try:
                outcomes = [_run(tx, waiting) for waiting in together]
                tx.commit()
                return outcomes, tx.committed
            except Lost:
                self._reach.drop()
                self._known.forget()
                if tx.committing and self._was_committed(tx.number):
                    return outcomes, tx.committed
            except BaseException as error:
                self._roll_back(line)
                if not isinstance(error, Refusal) or error.sqlstate != OUTDATED:
                    raise
                self._known.forget()
            finally:
                if exclusive:
                    self._known.forget()
        raise StoreUnavailable(f"The connection to {self._reach.shown} broke {LOSSES} times; nothing was changed")

    def _was_committed(self, number: str | None) -> bool:
        """What became of a transaction whose commit was not answered. Raises StoreUnavailable where nobody can tell."""
        while number is not None:  # without a number it has written nothing
            try:
                fate = self._reach.line().ask(WRITING["fate"], number)[0][0]
            except Lost:
                self._reach.drop()
                continue
            except (Refusal, StoreUnavailable):
                fate = None
            if fate == "in progress":  # the server has not noticed yet that we are gone; the new line told it to stop
                self._reach.closing.wait(0.05)
            elif fate is None:
                raise StoreUnavailable(
                    f"The connection to {self._reach.shown} broke during a commit, and whether it took effect is not "
                    "known; look before you repeat"
                )
            else:
                return bool(fate == "committed")
        return False

    def _roll_back(self, line: Line) -> None:
        line.forget_told()
        if not line.idle:
            try:
                line.ask(WRITING["roll_back"])
            except (Lost, Refusal):
                self._reach.drop()


class ReadLane:
    """Takes what waits and answers it from one snapshot, made after all of it was asked."""

    def __init__(self, reach: Reach, queue: "SimpleQueue[Waiting | None]", answer: Answer) -> None:
        self._reach, self._queue, self._answer = reach, queue, answer

    def run(self) -> None:
        """Until the queue ends."""
        for together in taken_together(self._queue, READ_TOGETHER):
            try:
                self._serve(together)
            except BaseException as error:  # noqa: BLE001 - it is handed to every caller, and the lane lives on
                self._reach.drop()
                self._answer([(future, None, error) for _, future in together], [])
        self._reach.close()

    def _serve(self, together: list[Waiting]) -> None:
        losses = 0
        while together:
            try:
                together = self._look(together)
            except Lost as lost:
                self._reach.drop()
                losses += 1
                if losses == LOSSES:
                    raise StoreUnavailable(f"The store {self._reach.shown} cannot be read now: {lost}") from None

    def _look(self, together: list[Waiting]) -> list[Waiting]:
        """Answer from one snapshot; what is left when a query spoilt it."""
        line = self._reach.line()
        tx = PostgresTx(line, self._reach.ground)
        for place, (query, future) in enumerate(together):
            try:
                self._answer([(future, query(tx), None)], [])
            except Lost:
                raise
            except Refusal as refusal:
                error = plain(refusal.sqlstate, refusal.said, self._reach.shown)
                self._answer([(future, None, error)], [])
                together = together[place + 1 :]
                break
            except BaseException as error:  # noqa: BLE001 - it is handed to the caller
                self._answer([(future, None, error)], [])
        else:
            together = []
        line.forget_told()
        if not line.idle:
            line.ask(READING["roll_back"])
        return together


def _run(tx: PostgresTx, waiting: Waiting) -> Outcome:
    """What one verb gave, or what it raised before it wrote anything."""
    verb, future = waiting
    writes, told = tx.writes, len(tx.committed)
    try:
        return future, verb(tx), None
    except (Lost, Refusal):
        raise
    except CatalogueNeeded:
        raise Spoilt(waiting, None) from None
    except BaseException as error:  # noqa: BLE001 - it is handed to the caller
        if tx.writes != writes:
            raise Spoilt(waiting, error) from None
        del tx.committed[told:]
        return future, None, error

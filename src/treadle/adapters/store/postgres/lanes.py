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
READ_TOGETHER = 4
"""Queries on one snapshot at most: it spares round trips, but those behind a slow one wait for it."""

APART = 4
"""So many verbs may spoil one transaction before all the others also run by themselves."""
TRIES = 10
CONFLICT_SECONDS = 15.0
"""How often, and how long, a verb by itself is tried again while others are in the way."""
LOSSES = 5
"""How often verbs run again because the connection broke under them."""
LONGEST_PAUSE_SECONDS = 0.2
FATE_SECONDS = 30.0
"""How long we ask what became of a commit before we say that nobody knows."""

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
            line, ground = self._reach.line(), self._reach.ground
            tx = PostgresTx(line, ground, known=self._known, shard=self._reach.shard, exclusive=exclusive)
            outcomes: list[Outcome] = []
            try:
                outcomes = [_run(tx, waiting) for waiting in together]
                tx.commit()
                return outcomes, tx.committed
            except Lost:
                self._reach.drop()
                self._known.forget()
                if tx.committing and tx.number is not None and self._was_committed(tx.number, ground.history):
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

    def _was_committed(self, number: str, history: str) -> bool:
        """What became of a transaction whose commit was not answered. Raises StoreUnavailable where nobody can tell."""
        until = time.monotonic() + FATE_SECONDS
        while time.monotonic() < until:
            try:
                fate = self._reach.line().ask(WRITING["fate"], number)[0][0]
            except Lost:
                self._reach.drop()
                continue
            except (Refusal, StoreUnavailable):
                break
            if fate is None or self._reach.ground.history != history:
                break  # long ago, or another server that took over: there the number may be somebody else's
            if fate != "in progress":
                return bool(fate == "committed")
            time.sleep(0.05)  # the server has not noticed yet that we are gone; the new line has told it to stop
        raise StoreUnavailable(
            f"The connection to {self._reach.shown} broke during a commit, and whether it took effect is not known; "
            "look before you repeat"
        )

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
                self._look(together)
            except Lost as lost:
                self._reach.drop()
                losses += 1
                if losses == LOSSES:
                    raise StoreUnavailable(f"The store {self._reach.shown} cannot be read now: {lost}") from None

    def _look(self, together: list[Waiting]) -> None:
        """Answer from one snapshot, taking from the list what is answered: all, or up to a query that spoilt it."""
        line = self._reach.line()
        tx = PostgresTx(line, self._reach.ground)
        spoilt = False
        while together and not spoilt:
            query, future = together[0]
            result: object = None
            error: BaseException | None = None
            try:
                result = query(tx)
            except Lost:
                raise
            except Refusal as refusal:
                error, spoilt = plain(refusal.sqlstate, refusal.said, self._reach.shown), True
            except BaseException as raised:  # noqa: BLE001 - it is handed to the caller
                error = raised
            del together[0]
            self._answer([(future, result, error)], [])
        line.forget_told()
        if not line.idle:
            line.ask(READING["roll_back"])


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

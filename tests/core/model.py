"""The queue as it is meant, in plain Python without a store: what any sequence of verbs must come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from treadle.core.errors import Conflict, Duplicate, LeaseLost, NotFound, ProjectClosed, WrongState
from treadle.core.leases import Claim
from treadle.core.submitting import NewTask
from treadle.core.tasks import Hold


@dataclass
class Kind:
    """What the tasks of a type, or of none, get."""

    max_retries: int
    lease: int
    unique: bool = False


@dataclass(eq=False)
class Piece:
    """One task as the model sees it; `id` is empty until the fabric has given it one."""

    asked: NewTask
    kind: Kind
    variables: dict[str, Any]
    not_before: int | None
    max_retries: int
    id: str = ""
    state: str = "queued"
    retries: int = 0
    fence: int = 0
    worker: str | None = None
    holder: str | None = None
    until: int | None = None
    displaced: set[str | None] = field(default_factory=set)
    finished: int | None = None
    tries: int = 0  # assignments that count, since a person last put it back

    def must(self, *states: str) -> None:
        if self.state not in states:
            raise WrongState

    def held(self, by: Hold) -> None:
        self.must("running")
        if by.worker not in (None, self.worker) or by.fence not in (None, self.fence) or by.holder in self.displaced:
            raise LeaseLost

    def leave(self, state: str, now: int) -> None:
        """Out of its worker's hands."""
        self.state, self.worker, self.holder, self.until = state, None, None, None
        self.displaced = set()
        self.finished = None if state == "queued" else now

    def tried(self, again: bool, now: int) -> None:
        self.retries += 1
        self.leave("queued" if again and self.retries <= self.max_retries else "failed", now)

    def pass_to(self, holder: str | None) -> None:
        if self.holder != holder:
            self.displaced = (self.displaced | {self.holder}) - {holder, None}
            self.holder = holder
            self.fence += 1


@dataclass
class Pool:
    """One project: what its tasks get by type, its tasks in creation order, what its idempotency keys stand for."""

    kinds: dict[str | None, Kind]
    open: bool = True
    pieces: list[Piece] = field(default_factory=list)
    keys: dict[str, tuple[list[NewTask], list[Piece]]] = field(default_factory=dict)


class Model:
    """All projects; the same verbs as the fabric, each of which raises before it changes anything."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}

    def pieces(self, *states: str) -> list[Piece]:
        return [piece for pool in self.pools.values() for piece in pool.pieces if piece.state in states or not states]

    def piece(self, id: str) -> Piece:
        for piece in self.pieces():
            if piece.id == id:
                return piece
        raise NotFound("Task", id)

    def open_pool(self, project: str) -> Pool:
        if not self.pools[project].open:
            raise ProjectClosed
        return self.pools[project]

    def submit(self, project: str, asked: Sequence[NewTask], key: str | None) -> list[Piece]:
        """A piece for each task asked for: a new one, or the one that is there already."""
        if key in self.pools[project].keys:
            request, made = self.pools[project].keys[key]
            if request != asked:
                raise Conflict
            return [self.piece(piece.id) for piece in made]
        pool = self.open_pool(project)
        given: list[Piece] = []
        for new in asked:
            kind = pool.kinds[new.type]
            there = [*pool.pieces, *(piece for piece in given if piece not in pool.pieces)]
            live = [piece for piece in there if piece.state not in ("failed", "cancelled")]
            twins = [piece for piece in live if piece.kind is kind and piece.variables == new.variables]
            if kind.unique and twins:
                given.append(twins[0])
                continue
            if new.name and any(piece.asked.name == new.name for piece in there):
                raise Duplicate
            retries = kind.max_retries if new.max_retries is None else new.max_retries
            given.append(Piece(new, kind, new.variables, new.not_before, retries))
        pool.pieces += [piece for place, piece in enumerate(given) if not piece.id and piece not in given[:place]]
        if key is not None:
            pool.keys[key] = (list(asked), given)
        return given

    def sweep(self, project: str, now: int) -> list[str]:
        swept = [piece for piece in self.pools[project].pieces if piece.until is not None and piece.until <= now]
        for piece in swept:
            piece.tried(piece.asked.on_lost == "requeue", now)
        return [piece.id for piece in swept]

    def claim(self, call: Claim, now: int) -> list[str]:
        pool = self.open_pool(call.project)
        self.sweep(call.project, now)
        if call.resume:
            for piece in pool.pieces:
                if piece.worker == call.worker:
                    piece.pass_to(call.holder)
                    return [piece.id]
        ripe = [piece for piece in pool.pieces if piece.state == "queued" and (piece.not_before or 0) <= now]
        taken = sorted(ripe, key=lambda piece: -piece.asked.priority)[: call.count]  # stable: then first created
        for piece in taken:
            piece.state, piece.worker, piece.holder = "running", call.worker, call.holder
            piece.until, piece.not_before = now + (call.lease or piece.kind.lease), None
            piece.fence += 1
            piece.tries += 1
        return [piece.id for piece in taken]

    def extend(self, id: str, by: Hold, add: int, keep: int, now: int) -> None:
        piece = self.piece(id)
        piece.held(by)
        piece.until = max((piece.until or 0) + add, now + keep)

    def handed_in(self, id: str) -> Piece:
        """The piece, if its pool takes results."""
        piece = self.piece(id)
        if any(piece in pool.pieces and not pool.open for pool in self.pools.values()):
            raise ProjectClosed
        return piece

    def finish(self, id: str, by: Hold, now: int) -> None:
        piece = self.handed_in(id)
        piece.held(by)
        piece.leave("succeeded", now)

    def fail(self, id: str, by: Hold, retry: bool, now: int) -> None:
        piece = self.handed_in(id)
        piece.held(by)
        piece.tried(retry, now)

    def release(self, id: str, by: Hold, now: int) -> None:
        piece = self.piece(id)
        piece.held(by)
        piece.tries -= 1
        piece.leave("queued", now)

    def cancel(self, id: str, now: int) -> None:
        piece = self.piece(id)
        piece.must("queued", "running")
        piece.leave("cancelled", now)

    def requeue(self, id: str, now: int) -> None:
        piece = self.piece(id)
        piece.must("failed", "cancelled")
        piece.leave("queued", now)
        piece.retries = piece.tries = 0

    def edit(self, id: str, variables: dict[str, Any]) -> None:
        piece = self.piece(id)
        piece.must("queued")
        piece.variables = variables

    def delete(self, id: str) -> None:
        piece = self.piece(id)
        piece.must("queued", "succeeded", "failed", "cancelled")
        for pool in self.pools.values():
            pool.pieces = [other for other in pool.pieces if other is not piece]

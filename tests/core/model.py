"""The queue as it is meant, in plain Python without a store: what any sequence of verbs must come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from treadle.core.errors import Conflict, Duplicate, LeaseLost, NotFound, ProjectClosed, WrongState
from treadle.core.tasks import Hold, OnLost


@dataclass
class Piece:
    """One task as the model sees it."""

    id: str
    project: str
    name: str | None
    type: str | None
    variables: dict[str, Any]
    priority: int
    not_before: int | None
    max_retries: int
    on_lost: OnLost
    lease: int
    state: str = "queued"
    retries: int = 0
    fence: int = 0
    worker: str | None = None
    holder: str | None = None
    until: int | None = None
    displaced: set[str] = field(default_factory=set)
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


@dataclass
class Pool:
    """One project: whether it takes work, its tasks in creation order, and what its idempotency keys stand for."""

    id: str
    open: bool = True
    pieces: list[Piece] = field(default_factory=list)
    keys: dict[str, tuple[object, list[str]]] = field(default_factory=dict)


class Model:
    """All projects; the same verbs as the fabric, each of which raises before it changes anything."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}

    def piece(self, id: str) -> Piece:
        for pool in self.pools.values():
            for piece in pool.pieces:
                if piece.id == id:
                    return piece
        raise NotFound("Task", id)

    def pool(self, id: str) -> Pool:
        if id not in self.pools:
            raise NotFound("Project", id)
        if not self.pools[id].open:
            raise ProjectClosed
        return self.pools[id]

    def answered(self, project: str, key: str | None, asked: object) -> list[str] | None:
        """The tasks that this idempotency key made, if it was used before."""
        if key is None or project not in self.pools or key not in self.pools[project].keys:
            return None
        request, ids = self.pools[project].keys[key]
        if request != asked:
            raise Conflict
        for id in ids:
            self.piece(id)
        return ids

    def check_submit(self, project: str, new: Sequence[Piece], unique: set[str]) -> list[Piece]:
        """What a submit gives: new pieces, or for types whose tasks are unique the piece that exists already."""
        pool = self.pool(project)
        given: list[Piece] = []
        fresh: list[Piece] = []
        for piece in new:
            there = [*pool.pieces, *fresh]
            live = [twin for twin in there if twin.state not in ("failed", "cancelled")]
            same = [twin for twin in live if (twin.type, twin.variables) == (piece.type, piece.variables)]
            if piece.type in unique and same:
                given.append(same[0])
                continue
            if piece.name and any(other.name == piece.name for other in there):
                raise Duplicate
            given.append(piece)
            fresh.append(piece)
        return given

    def sweep(self, project: str, now: int) -> list[str]:
        swept = [
            piece
            for piece in self.pools[project].pieces
            if piece.state == "running" and piece.until is not None and piece.until <= now
        ]
        for piece in swept:
            piece.tried(piece.on_lost == "requeue", now)
        return [piece.id for piece in swept]

    def claim(
        self, project: str, worker: str, holder: str | None, count: int, resume: bool, lease: int | None, now: int
    ) -> list[str]:
        pool = self.pool(project)
        self.sweep(project, now)
        if resume:
            for piece in pool.pieces:
                if piece.state == "running" and piece.worker == worker:
                    if piece.holder != holder:
                        piece.displaced = (piece.displaced | {piece.holder or ""}) - {holder or "", ""}
                        piece.holder = holder
                        piece.fence += 1
                    return [piece.id]
        ripe = [piece for piece in pool.pieces if piece.state == "queued" and (piece.not_before or 0) <= now]
        taken = sorted(ripe, key=lambda piece: -piece.priority)[:count]  # the sort is stable: then first created
        for piece in taken:
            piece.state, piece.worker, piece.holder, piece.displaced = "running", worker, holder, set()
            piece.until, piece.not_before = now + (lease or piece.lease), None
            piece.fence += 1
            piece.tries += 1
        return [piece.id for piece in taken]

    def extend(self, id: str, by: Hold, add: int, keep: int, now: int) -> None:
        piece = self.piece(id)
        piece.held(by)
        piece.until = max((piece.until or 0) + add, now + keep)

    def finish(self, id: str, by: Hold, now: int) -> None:
        piece = self.piece(id)
        piece.held(by)
        piece.leave("succeeded", now)

    def fail(self, id: str, by: Hold, retry: bool, now: int) -> None:
        piece = self.piece(id)
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
        self.pools[piece.project].pieces.remove(piece)

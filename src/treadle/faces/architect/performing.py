"""From a request to its outcome: who may, what was asked, once only, in time, and noted down."""

import asyncio
import difflib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, inspect

from treadle.core.access import PUBLIC, Principal
from treadle.core.actions import Action, Answer, Caller
from treadle.core.errors import FabricError, Fault, Invalid
from treadle.core.fabric import Fabric
from treadle.faces.architect.audit import Audit, Entry, masked
from treadle.faces.architect.catalogue import permission_of
from treadle.faces.architect.errors import Speller
from treadle.faces.architect.frames import Outcome, Request, failure
from treadle.faces.architect.idempotence import Replies
from treadle.faces.architect.options import FACE
from treadle.faces.architect.roles import Rights
from treadle.faces.architect.session import Session
from treadle.faces.architect.users import Users
from treadle.web.faults import faults, nul_faults
from treadle.web.log import Log

ANSWER_SECONDS = 9.0
"""Clients give up after 10 s (spec 3.1.5)."""
STOP_SECONDS = 10.0
FAULTS = 100


class Performing:
    """Performs requests, each in a task of its own that outlives the connection if it changes something."""

    def __init__(
        self, fabric: Fabric, actions: Mapping[str, Action], users: Users, audit: Audit, speller: Speller, log: Log
    ) -> None:
        self._fabric, self._actions, self._users = fabric, actions, users
        self._audit, self._speller, self._log = audit, speller, log
        self._kinds = {name: inspect.type_info(action.params) for name, action in actions.items()}
        self.replies = Replies(fabric.clock)
        self._running: dict[asyncio.Task[None], bool] = {}

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, session: Session, number: int, request: Request) -> None:
        """Start a request; its outcome goes to the session."""
        action = self._actions.get(request.action)
        task = asyncio.create_task(self._answer(session, number, request), name=f"architect {request.action[:40]}")
        self._running[task] = action is None or action.reads
        task.add_done_callback(lambda done: self._running.pop(done, None))

    async def close(self) -> None:
        """Wait for what changes something, and end the rest."""
        for task, reads in list(self._running.items()):
            if reads:
                task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=STOP_SECONDS)

    async def _answer(self, session: Session, number: int, request: Request) -> None:
        action = self._actions.get(request.action)
        working = asyncio.create_task(self._outcome(session, request))
        try:
            await asyncio.wait((working,), timeout=ANSWER_SECONDS)
            if working.done():
                session.finished(number, working.result())
                return
            goes_on = action is not None and not action.reads
            more = "; it goes on, and the same token asks for its outcome" if goes_on else ""
            session.finished(number, failure("timeout", f"No answer within {ANSWER_SECONDS:g} s{more}"))
            if goes_on:
                await working
        finally:
            working.cancel()

    async def _outcome(self, session: Session, request: Request) -> Outcome:
        """The outcome, whatever happens; and the line in the audit."""
        try:
            outcome = await self._perform(session, request)
        except FabricError as error:
            outcome = self._speller.outcome(error, session.id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its one reply
            outcome = self._speller.outcome(error, session.id)
            self._log.failed("action failed", error, face=FACE, action=request.action, reference=session.id)
        if not outcome.replayed:
            self._audit.note(
                Entry(
                    date=self._fabric.clock(),
                    user=session.user,
                    session=session.id,
                    address=session.address,
                    action=request.action,
                    parameters=masked(request.parameters),
                    outcome="ok" if outcome.ok else str(outcome.parameters["error"]),
                )
            )
        return outcome

    async def _perform(self, session: Session, request: Request) -> Outcome:
        action = self._actions.get(request.action)
        if action is None:
            similar = difflib.get_close_matches(request.action, self._actions, 3)
            return failure("unknown_action", f"There is no action {request.action}", similar=similar)
        account = await self._users.account(session.user)
        rights = account.rights if account else Rights()
        scopes, only = allowed(action, request.parameters, rights)
        if scopes is None or account is None:
            needed = permission_of(action.scope)
            return failure("permission_denied", f"{action.name} needs the permission {needed}", permission=needed)
        params = self._read(action, request.parameters)
        caller = Caller(Principal(name=session.user, face=FACE, scopes=scopes), session.id)

        async def work() -> Outcome:
            try:
                answer = await action.perform(self._fabric, caller, params)
                return outcome_of(answer, only)
            except FabricError as error:
                return self._speller.outcome(error, session.id)

        if action.reads:
            return await work()
        return await self.replies.once(session.user, request, work)

    def _read(self, action: Action, given: dict[str, Any]) -> Any:
        """The parameters as the action wants them. Raises Invalid with a fault for each that is wrong."""
        kind = self._kinds[action.name]
        assert isinstance(kind, inspect.StructType)
        known = {field.encode_name for field in kind.fields}
        wrong = [Fault(name[:100], "is no parameter of this action") for name in given if name not in known]
        wrong += nul_faults(given)
        try:
            params = msgspec.convert(given, action.params)
        except msgspec.ValidationError as error:
            wrong += faults(given, kind) or [Fault("parameters", str(error))]
            params = None
        if wrong:
            raise Invalid(*wrong[:FAULTS])
        return params


def allowed(
    action: Action, parameters: Mapping[str, Any], rights: Rights
) -> tuple[tuple[str, ...] | None, frozenset[str] | None]:
    """The scopes for a call, None if it may not be made; and the servers to which what it answers is limited.

    A right on single servers opens what names these servers, and readings that name none, whose lists are limited.
    """
    servers = named(parameters)
    scopes = rights.scopes(servers)
    if Rights(scopes).hold(action.scope):
        return scopes, None
    where = rights.where(action.scope)
    if servers or not where or not action.reads or action.scope == PUBLIC:
        return None, None
    return (*scopes, action.scope), where


def named(parameters: Mapping[str, Any]) -> list[str]:
    """The servers that a call names."""
    one, many = parameters.get("server"), parameters.get("servers")
    found = [one] if isinstance(one, str) else []
    return found + ([each for each in many if isinstance(each, str)] if isinstance(many, list) else [])


def outcome_of(answer: Answer, only: frozenset[str] | None = None) -> Outcome:
    """An answer as a reply's parameters, limited to some servers."""
    if answer.refusal is not None:
        return failure("conflict", answer.refusal)
    data = {} if answer.data is UNSET else msgspec.to_builtins(answer.data)
    parameters: dict[str, Any] = data if isinstance(data, dict) else {"result": data}
    parameters = {**parameters, **{name: msgspec.to_builtins(value) for name, value in answer.beside.items()}}
    if only is not None:
        parameters = limited(parameters, only)
    if answer.message is not None:
        parameters.setdefault("message", answer.message)
    return Outcome(parameters)


def limited(parameters: dict[str, Any], only: frozenset[str]) -> dict[str, Any]:
    """Of the lists in an answer the rows that belong to these servers; of the rest only the cursor."""

    def ours(name: str, row: Any) -> bool:
        if not isinstance(row, dict):
            return False
        return row.get("server", row.get("id") if name == "servers" else None) in only

    return {
        name: [row for row in value if ours(name, row)] if isinstance(value, list) else value
        for name, value in parameters.items()
        if isinstance(value, list) or name == "cursor"
    }

"""The actions of a connection: who am I, who else is there, what happened meanwhile, what do I want to hear."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from treadle.core.access import PUBLIC
from treadle.core.actions import Action, Answer, Caller
from treadle.core.clock import SECOND
from treadle.core.errors import Denied, NotFound
from treadle.core.fabric import Fabric
from treadle.faces.architect.actions.context import Context, name_of
from treadle.faces.architect.catalogue import permission_of
from treadle.faces.architect.events import Told
from treadle.faces.architect.roles import words
from treadle.faces.architect.topics import Wanted

CLOSED = 1000
_Word = Annotated[str, Meta(min_length=1, max_length=128)]


class Nothing(Struct):
    """No parameters."""


class Ping(Struct):
    """Something to get back."""

    payload: Any = None


class SessionId(Struct):
    """Which session."""

    session: _Word


class Subscribe(Struct):
    """What to hear: a topic, of one server where it is one's, from a cursor on, at most `rate` events a second."""

    topic: _Word
    server: _Word | None = None
    since: int | None = None
    rate: Annotated[float, Meta(gt=0, le=1000)] | None = None


class SubscriptionId(Struct):
    """Which subscription."""

    subscription: _Word


class EventsAsked(Struct):
    """Kept events after a cursor, of these names (`server.*` is all that begin so) and this server."""

    since: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    names: list[_Word] | None = None
    server: _Word | None = None


def session_actions(context: Context) -> list[Action]:
    """The rows."""

    async def whoami(_: Fabric, caller: Caller, __: Nothing) -> Answer:
        rights = await context.rights(caller)
        session = context.session(caller)
        account = await context.users.account(session.user)
        return Answer(
            data={
                "username": session.user,
                "roles": ["default", *account.user.roles] if account else [],
                "permissions": words(rights),
                "servers": {server: words(rights, server) for server in rights.on},
                "session": session.id,
                "connected_at": session.connected / SECOND,
                "address": session.address,
            }
        )

    async def ping(fabric: Fabric, _: Caller, asked: Ping) -> Answer:
        return Answer(data={"payload": asked.payload, "date": fabric.clock() / SECOND})

    async def sessions(_: Fabric, __: Caller, ___: Nothing) -> Answer:
        rows = [
            {
                "session": each.id,
                "username": each.user,
                "address": each.address,
                "connected_at": each.connected / SECOND,
                "in_flight": each.in_flight,
                "subscriptions": len(each.subscriptions),
                "queued": each.outbox.size,
            }
            for each in context.telling.sessions.values()
        ]
        return Answer(data={"sessions": rows})

    async def session_close(_: Fabric, __: Caller, asked: SessionId) -> Answer:
        context.session_named(asked.session).end(CLOSED, "closed by another user")
        return Answer(data={"closed": asked.session})

    async def subscribe(fabric: Fabric, caller: Caller, asked: Subscribe) -> Answer:
        session, rights = context.session(caller), await context.rights(caller)
        wanted = Wanted(asked.topic, asked.server, asked.since, asked.rate)
        topic = context.topics.get((asked.topic, asked.server is not None))
        scope = topic.scope if topic else context.fact_topics.get(asked.topic)
        if scope is None:
            raise NotFound("Topic", asked.topic)
        if not rights.hold(scope, asked.server):
            raise Denied(f"The topic {asked.topic} needs the permission {permission_of(scope)}")
        follow = (lambda: topic.follow(fabric, caller, wanted)) if topic else None
        return Answer(data={"subscription": session.subscribe(wanted, scope, follow), "topic": asked.topic})

    async def unsubscribe(_: Fabric, caller: Caller, asked: SubscriptionId) -> Answer:
        context.session(caller).unsubscribe(asked.subscription)
        return Answer(data={"removed": asked.subscription})

    async def events(_: Fabric, caller: Caller, asked: EventsAsked) -> Answer:
        def wants(news: Told) -> bool:
            named = asked.names is None or any(_covers(name, news.name) for name in asked.names)
            return named and asked.server in (None, news.server)

        found, cursor = await context.telling.since(
            asked.since, asked.limit, wants, name_of(caller), await context.rights(caller)
        )
        rows = [
            {"event": news.name, "date": news.date, "cursor": news.cursor, "parameters": news.parameters}
            for news in found
        ]
        return Answer(data={"events": rows, "cursor": cursor})

    return [
        Action(name="whoami", summary="Who you are, and what you may do", params=Nothing, scope=PUBLIC, run=whoami,
               reads=True),
        Action(name="ping", summary="Send something back", params=Ping, scope=PUBLIC, run=ping, reads=True),
        Action(name="sessions", summary="The open connections", params=Nothing, scope="session:list", run=sessions,
               reads=True),
        Action(name="session_close", summary="Close a connection", params=SessionId, scope="session:close",
               run=session_close),
        Action(name="subscribe", summary="Hear a topic on this connection", params=Subscribe, scope=PUBLIC,
               run=subscribe),
        Action(name="unsubscribe", summary="End a subscription", params=SubscriptionId, scope=PUBLIC,
               run=unsubscribe),
        Action(name="events", summary="Events that happened after a cursor, to catch up after a reconnect",
               params=EventsAsked, scope=PUBLIC, run=events, reads=True),
    ]  # fmt: skip


def _covers(wanted: str, name: str) -> bool:
    return name == wanted or (wanted.endswith(".*") and name.startswith(wanted[:-1]))

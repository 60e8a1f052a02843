"""The TaskDriver face: projects, task types, tasks and agents over HTTP, as its "HTTP API Reference" has them."""

from typing import Literal

from msgspec import Struct

from treadle import __version__
from treadle.core.clock import SECOND
from treadle.core.fabric import Fabric
from treadle.core.projects import Policy
from treadle.faces.taskdriver import wire
from treadle.faces.taskdriver.agents import QUEUE, Agents
from treadle.faces.taskdriver.envelope import Envelope
from treadle.faces.taskdriver.errors import speller
from treadle.faces.taskdriver.metrics import Meter
from treadle.faces.taskdriver.monitoring import Monitoring
from treadle.faces.taskdriver.naming import Names
from treadle.faces.taskdriver.projects import Projects
from treadle.faces.taskdriver.sessions import Access, Sessions
from treadle.faces.taskdriver.task_types import TaskTypes
from treadle.faces.taskdriver.tasks import Tasks
from treadle.web.admission import Admission
from treadle.web.app import App
from treadle.web.asgi import Receive, Scope, Send
from treadle.web.call import Call
from treadle.web.log import Log
from treadle.web.openapi import Spec
from treadle.web.rate import RateLimit

NAME = "taskdriver"
DOCS = "/api/docs"
DEFAULT_POLICY = Policy()
_ABOUT = (
    "Agents log in under a name, take tasks from a project's queue and hand in results. Each address has a limit of "
    "requests in 15 minutes; next-task, peek, complete, fail and extend-lease with a live token do not count."
)


class Options(Struct, frozen=True, kw_only=True):
    """What this face can be told.

    `rate_limit` is requests per 15 minutes and address, 0 for none; `cors_origins` are web origins, `*` for all;
    `hosts` are further names of this listener; `session_timeout` is milliseconds; `policy` is what new projects get
    where their maker is silent. With `auth` "required" a login needs a key; without `enable_auth` (loopback only,
    which whoever starts the listener sees to) a request needs no login.
    """

    rate_limit: int = 100
    cors_origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    session_timeout: int = 3_600_000
    auth: Literal["open", "required"] = "open"
    enable_auth: bool = True
    policy: Policy = DEFAULT_POLICY


class TaskDriver(App):
    """The face's application; it also knows how many requests are under way."""

    meter: Meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.meter.in_flight += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.meter.in_flight -= 1


def make(fabric: Fabric, options: Options, log: Log) -> TaskDriver:
    """The face's ASGI application. Raises ValueError for options that contradict each other."""
    if options.auth == "required" and not options.enable_auth:
        raise ValueError("TaskDriver: auth cannot be required and switched off at once")
    meter, answer, names = Meter(), Envelope(fabric.clock), Names(fabric)
    access = Access(
        key_required=options.auth == "required",
        login_required=options.enable_auth,
        lifetime=options.session_timeout * SECOND // 1000,
    )
    sessions = Sessions(fabric, answer, meter, access)
    app = TaskDriver(
        name=NAME,
        routes=[
            *sessions.routes(),
            *Projects(fabric, answer, options.policy).routes(),
            *TaskTypes(fabric, answer).routes(),
            *Tasks(fabric, answer, names).routes(),
            *Agents(fabric, answer, names, meter).routes(),
            *Monitoring(fabric, answer, meter).routes(),
        ],
        spell=speller(fabric.clock, meter.erred, log),
        authenticate=sessions.authenticate,
        admission=Admission(hosts=options.hosts, origins=options.cors_origins),
        log=log,
        correlate=fabric.ids,
        rate=RateLimit(options.rate_limit),
        counts=_counts,
        on_done=meter.done,
        spec=Spec(
            title="TaskDriver",
            version=__version__,
            error=wire.Failure,
            description=_ABOUT,
            optional=not options.enable_auth,
        ),
        docs=DOCS,
    )
    app.meter = meter
    return app


def _counts(call: Call) -> bool:
    """Whether a call uses up the limit: all but the queue operations of somebody who logged in, and the docs."""
    route = call.route
    assert route is not None  # it was found
    return route.counted or (call.principal.grant is None and route.tag == QUEUE)

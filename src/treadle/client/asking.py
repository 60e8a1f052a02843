"""What each verb on runs and nodes asks of the server, apart from how it is sent: two ways of sending share it."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from treadle.client.errors import Unreadable
from treadle.client.nouns import State
from treadle.client.runs import NewRun, Node, Run, RunPage, Window

T = TypeVar("T")


class Ask(Struct, Generic[T], frozen=True, kw_only=True):
    """One request and what its answer is. `repeatable`: asking twice does the same as asking once.

    `wait` is how many seconds the server may hold the answer back.
    """

    method: str
    path: str
    reply: type[T]
    body: Any = None
    query: dict[str, Any] = {}
    repeatable: bool = False
    wait: float = 0

    @property
    def content(self) -> bytes | None:
        """The body as JSON."""
        return None if self.body is None else msgspec.json.encode(self.body)

    def read(self, answer: bytes) -> T:
        """The answer as what it is. Raises Unreadable."""
        try:
            return msgspec.json.decode(answer or b"null", type=self.reply)
        except msgspec.DecodeError as error:
            raise Unreadable(f"the server's answer cannot be read: {error}") from error


class Nodes(Struct, frozen=True):
    """The answer to `nodes`."""

    nodes: list[Node]


Nothing = type(None)


def start(new: NewRun) -> Ask[Run]:
    return Ask(method="POST", path="/api/runs", body=new, reply=Run)


def get(id: str, wait: float = 0) -> Ask[Run]:
    query = {"wait": wait} if wait else {}
    return Ask(method="GET", path=run_path(id), query=query, reply=Run, repeatable=True, wait=wait)


def listed(states: Sequence[State], limit: int, offset: int) -> Ask[RunPage]:
    query = {"state": list(states) or None, "limit": limit, "offset": offset}
    return Ask(method="GET", path="/api/runs", query=query, reply=RunPage, repeatable=True)


def feed(id: str, data: bytes, *, eof: bool) -> Ask[None]:
    body: dict[str, Any] = {"base64": b64encode(data).decode()} if data else {}
    return Ask(method="POST", path=f"{run_path(id)}/input", body=body | ({"eof": True} if eof else {}), reply=Nothing)


def resize(id: str, window: Window) -> Ask[None]:
    body = {"columns": window.columns, "rows": window.rows}
    return Ask(method="POST", path=f"{run_path(id)}/resize", body=body, reply=Nothing, repeatable=True)


def signal(id: str, name: str, grace: float | None) -> Ask[Run]:
    body = {"signal": name} | ({} if grace is None else {"grace": grace})
    return Ask(method="POST", path=f"{run_path(id)}/signal", body=body, reply=Run)


def nodes() -> Ask[Nodes]:
    return Ask(method="GET", path="/api/queue/nodes", reply=Nodes, repeatable=True)


def run_path(id: str) -> str:
    return f"/api/runs/{quote(id, safe='')}"


def output_path(id: str) -> str:
    return f"/api/tasks/{quote(id, safe='')}/output"

"""An action is a verb offered by name with typed parameters: what RPC faces, MCP and agents call instead of routes.

A prompt is advice for a model, offered by name in the same way. Who offers actions writes them down as rows; a face is
handed the rows and neither knows nor imports who wrote them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from msgspec import UNSET, Struct, UnsetType

from .access import Principal
from .errors import Denied
from .fabric import Fabric

N = TypeVar("N", bound="Action | Prompt")


class Caller(Struct, frozen=True):
    """Who calls an action, and in which conversation, if the way they came has one.

    A conversation is a name for a row of calls that belong together; it proves nothing about who calls.
    """

    principal: Principal
    conversation: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What an action answers.

    `data` is the result, `beside` further results by name, `message` one sentence for a person. `refusal` says why
    what was asked for did not happen although nothing was wrong with the call: there is no work left, for instance.
    """

    data: Any | UnsetType = UNSET
    beside: Mapping[str, Any] = {}
    message: str | None = None
    refusal: str | None = None


class Action(Struct, frozen=True, kw_only=True):
    """One verb by name. `params` is what it reads, `result` the type of its answer's data.

    `run` is handed the fabric, the caller and an instance of `params`; it raises FabricErrors. `reads` says that it
    changes nothing.
    """

    name: str
    summary: str
    params: type[Struct]
    scope: str
    run: Callable[[Fabric, Caller, Any], Awaitable[Answer]]
    result: Any = None
    reads: bool = False

    async def perform(self, fabric: Fabric, caller: Caller, params: Any) -> Answer:
        """Run it, if the caller may. Every face calls actions through here; raises Denied, and what `run` raises."""
        if not caller.principal.holds(self.scope):
            raise Denied(f"{self.name} needs the right {self.scope}")
        return await self.run(fabric, caller, params)


class Argument(Struct, frozen=True):
    """One argument of a prompt: text, or left out if it may be."""

    name: str
    summary: str
    required: bool = False


class Prompt(Struct, frozen=True, kw_only=True):
    """Advice for a model: `text` makes it from the arguments that were given, of which the required ones are there."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    text: Callable[[Mapping[str, str]], str]


def by_name(rows: Iterable[N]) -> dict[str, N]:
    """The rows by their name. Raises ValueError if two have the same."""
    found: dict[str, N] = {}
    for row in rows:
        if found.setdefault(row.name, row) is not row:
            raise ValueError(f"{row.name} is offered twice")
    return found

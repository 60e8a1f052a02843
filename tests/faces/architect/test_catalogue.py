"""The type words of `list_actions`, and the names that clients can use (spec 3.2)."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType, field, inspect

from treadle.core.actions import Action, Answer
from treadle.faces.architect.catalogue import check, described, parameters_of, permission_of, scope_of, word


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct):
    """A map."""

    x: int = 0


class Params(Struct):
    """One of everything."""

    server: str
    count: Annotated[int, Meta(ge=1)]
    rate: float | int
    words: list[str]
    signal: Literal["HUP", "INT"]
    colour: Colour
    inner: Inner
    env: dict[str, str]
    maybe: str | None
    anything: Any
    wait: bool = False
    lines: int = 200
    left_out: int | UnsetType = UNSET
    maps: list[Inner] = field(default_factory=list)


def test_the_words() -> None:
    required, optional = parameters_of(Params)
    assert required == {
        "server": "str",
        "count": "int",
        "rate": "float",
        "words": "list[str]",
        "signal": "str(HUP|INT)",
        "colour": "str(red|blue)",
        "inner": "map",
        "env": "map[str]",
        "maybe": "str?",
        "anything": "any",
    }
    assert optional == {"wait": "bool", "lines": "int", "left_out": "int", "maps": "list[map]"}
    assert word(inspect.type_info(list[Any])) == "list"
    assert word(inspect.type_info(bytes)) == "any"


async def run(*_: Any) -> Answer:
    return Answer()


def action(name: str = "server_start", params: type[Struct] = Params, **more: Any) -> Action:
    return Action(name=name, summary="Start a server", params=params, scope="server:start", run=run, **more)


def test_a_row() -> None:
    row = described(action(result=Inner), allowed=True)
    assert row["description"] == "Start a server"
    assert row["required_parameters"]["server"] == "str"
    assert (row["permission"], row["mutating"], row["allowed"]) == ("server.start", True, True)
    assert row["cloud_controller_only"] is False
    assert row["returns"] == {"x": "int"}
    assert described(action(reads=True), allowed=False)["mutating"] is False
    assert scope_of(permission_of("server:start")) == "server:start"


@pytest.mark.parametrize("name", ["connect", "close", "send_request", "import", "Start", "server-start", "_x", ""])
def test_names_that_would_break_the_printed_client(name: str) -> None:
    with pytest.raises(ValueError, match="name of an action"):
        check([action(name)])


class Bad(Struct):
    """A keyword."""

    where: str = field(name="from", default="")


class Self(Struct):
    """Taken."""

    me: str = field(name="self", default="")


@pytest.mark.parametrize("params", [Bad, Self])
def test_parameters_that_would_break_it(params: type[Struct]) -> None:
    with pytest.raises(ValueError, match="name of a parameter"):
        check([action(params=params)])

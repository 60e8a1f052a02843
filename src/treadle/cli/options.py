"""Options declared as Typer's are, for commands whose first output must not wait until Typer is imported.

What is plain is understood here. Help, completion, faults and whatever else is not are Typer's: `typed` gives it the
same declarations.
"""

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

Function = Callable[..., None]


class Option:
    """An option by its names; in `Annotated`, as typer.Option is. `least` is the smallest number it takes."""

    def __init__(self, *names: str, help: str, metavar: str | None = None, least: float | None = None) -> None:
        self.names, self.help, self.metavar, self.least = names, help, metavar, least

    def typed(self) -> Any:
        import typer

        return typer.Option(*self.names, help=self.help, metavar=self.metavar, min=self.least)


class Argument:
    """A word, or a list of them. With `rest` the list takes everything from its first word on, options too."""

    def __init__(self, *, help: str, metavar: str, rest: bool = False) -> None:
        self.help, self.metavar, self.rest = help, metavar, rest

    def typed(self) -> Any:
        import typer

        return typer.Argument(help=self.help, metavar=self.metavar)


SERVER = Option("--server", metavar="URL", help="The server to speak with, not the one of the home.")
HOME = Option("--home", metavar="DIR", help="The home whose server to speak with.")
JSON = Option("--json", help="Print JSON.")
Server = Annotated[str | None, SERVER]
Home = Annotated[str | None, HOME]
Json = Annotated[bool, JSON]


class _Row(NamedTuple):
    """A parameter of a command: what one value of it is, and whether it takes several."""

    name: str
    said: Option | Argument
    kind: type
    many: bool
    default: Any

    def value(self, word: str) -> Any:
        """The word as a value. Raises ValueError."""
        value = self.kind(word)
        if isinstance(self.said, Option) and self.said.least is not None and value < self.said.least:
            raise ValueError
        return value


def understood(function: Function, words: list[str]) -> dict[str, Any] | None:
    """The words as arguments for the function, or None where Typer has to look at them."""
    rows = [_row(parameter) for parameter in inspect.signature(function, eval_str=True).parameters.values()]
    options = {name: row for row in rows if isinstance(row.said, Option) for name in row.said.names}
    places = [row for row in rows if isinstance(row.said, Argument)]
    given: dict[str, Any] = {row.name: row.default for row in rows if row.default is not inspect.Parameter.empty}
    rest, left = [], list(words)
    try:
        while left:
            word = left.pop(0)
            if word == "--":
                rest += left
                break
            if not word.startswith("-") or word == "-":
                rest.append(word)
                if any(isinstance(row.said, Argument) and row.said.rest for row in places):
                    rest += left
                    break
                continue
            name, equals, value = word.partition("=")
            row = options[name]
            if row.kind is bool and not equals:
                given[row.name] = True
                continue
            if row.kind is bool or (equals and not name.startswith("--")):
                return None
            one = row.value(value if equals else left.pop(0))
            given[row.name] = [*(given[row.name] or ()), one] if row.many else one
        for row in places:
            if rest:
                given[row.name] = [row.value(word) for word in rest] if row.many else row.value(rest.pop(0))
                rest = [] if row.many else rest
    except (KeyError, IndexError, ValueError):
        return None
    return given if not rest and all(row.name in given for row in rows) else None


def typed(function: Function) -> tuple[Function, dict[str, Any]]:
    """The function as Typer reads it, and the settings of its command."""
    signature = inspect.signature(function, eval_str=True)
    parameters, settings = [], {}
    hints: Any = Annotated
    for parameter in signature.parameters.values():
        kind, said = get_args(parameter.annotation)
        if isinstance(said, Argument) and said.rest:
            settings["allow_interspersed_args"] = False
        parameters.append(parameter.replace(annotation=hints[kind, said.typed()]))

    def call(**given: Any) -> None:
        function(**given)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return call, settings


def _row(parameter: inspect.Parameter) -> _Row:
    kind, said = get_args(parameter.annotation)
    kinds = [each for each in get_args(kind) if each is not NoneType] if _is_union(kind) else [kind]
    (one,) = kinds
    many = get_origin(one) is list
    return _Row(parameter.name, said, get_args(one)[0] if many else one, many, parameter.default)


def _is_union(kind: Any) -> bool:
    origin = get_origin(kind)
    return origin is Union or getattr(origin, "__name__", "") == "UnionType"
